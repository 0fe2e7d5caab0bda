package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIndexPages: an index with a page that bbolt does not survive is rebuilt, and the store opens.
func TestIndexPages(t *testing.T) {
	for name, spoil := range map[string]func(raw []byte) []byte{
		"the list of free pages":          freeless,
		"the end":                         func(raw []byte) []byte { return raw[:2*os.Getpagesize()] },
		"the place of references":         func(raw []byte) []byte { return misplaced(raw, bucketIDs) },
		"the place of what is counted":    func(raw []byte) []byte { return misplaced(raw, bucketDrops) },
		"the place of what is in use":     func(raw []byte) []byte { return misplaced(raw, bucketSegments) },
		"the place of mail that waits":    func(raw []byte) []byte { return misplaced(raw, bucketEntries) },
		"the place of where it reaches":   func(raw []byte) []byte { return misplaced(raw, bucketMeta) },
		"the place of what can be undone": func(raw []byte) []byte { return misplaced(raw, bucketBin) },
	} {
		t.Run(name, func(t *testing.T) {
			ts := newTestStore(t, quiet)
			for range 200 {
				ts.send([]byte("hello\r\n"))
			}
			if err := ts.Close(); err != nil {
				t.Fatal(err)
			}
			index := filepath.Join(ts.dir, indexFile)
			raw, err := os.ReadFile(index)
			if err == nil {
				err = os.WriteFile(index, spoil(raw), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // what it finds out late it knows at the next start
				if ts.Store, err = Open(ts.dir, quiet); err == nil {
					m := lockable(ts.Store, 1)
					if err = errors.Join(ts.take(t.Context(), m), m.load()); err == nil && len(m.messages) == 200 {
						ts.Close()
						return
					}
					ts.condemnIndex(err) // as Open of a maildrop does
					ts.Close()
				}
			}
			t.Errorf("still %v", err)
		})
	}
}

// TestAccountsPage: accounts.db with a page that bbolt does not survive is named, and what helps.
func TestAccountsPage(t *testing.T) {
	ts := newTestStore(t, quiet)
	if err := ts.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(ts.dir, "accounts.db")
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, spoiled := range map[string][]byte{"the list of free pages": freeless(bytes.Clone(raw)), "a bucket": misplaced(bytes.Clone(raw), bucketLogins)} {
		if err := os.WriteFile(name, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(ts.dir, quiet)
		if bytes.Equal(raw, spoiled) && err == nil {
			continue // the bucket lies in another's page
		}
		if err == nil || !strings.Contains(err.Error(), "accounts.db: a page is damaged") || !strings.Contains(err.Error(), "restore a backup") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// freeless takes away the list of free pages.
func freeless(raw []byte) []byte {
	size := os.Getpagesize()
	for meta := range 2 {
		clear(raw[size*int(binary.LittleEndian.Uint64(raw[meta*size+48:])):][:size])
	}
	return raw
}

// misplaced gives a bucket a root far behind the file's end.
func misplaced(raw []byte, bucket []byte) []byte {
	for at := 0; ; at++ {
		i := bytes.Index(raw[at:], bucket)
		if i < 0 {
			return raw
		}
		if at += i + len(bucket); binary.LittleEndian.Uint64(raw[at:]) != 0 { // else it lies in its parent's page
			raw[at+3] = 0x40
		}
	}
}

// C1: one flipped octet of index.db, each 97th of those in use: what happens?
func TestIndexRot(t *testing.T) {
	ts := newTestStore(t, quiet)
	for i := range 200 {
		ts.send(bytes.Repeat([]byte{'x'}, 100+i))
	}
	ts.Close()
	raw, _ := os.ReadFile(filepath.Join(ts.dir, "index.db"))
	kinds := map[string]int{}
	example := map[string]string{}
	n := 0
	for at := 0; at < len(raw); at += 97 {
		if raw[at] == 0 {
			continue
		}
		n++
		kind := func() (kind string) {
			defer func() {
				if e := recover(); e != nil {
					kind = fmt.Sprintf("panic at login: %.60v", e)
				}
			}()
			dir := filepath.Join(scratch(t), "s")
			os.CopyFS(dir, os.DirFS(ts.dir))
			defer os.RemoveAll(dir)
			flip(t, filepath.Join(dir, "index.db"), int64(at))
			s, err := Open(dir, quiet)
			if err != nil {
				return fmt.Sprintf("does not open: %.40v", err)
			}
			defer s.Close()
			m := lockable(s, 1)
			s.take(context.Background(), m)
			if err := m.load(); err != nil {
				s.condemnIndex(err)
				s.Close()
				again := openTest(t, dir, quiet)
				m := lockable(again, 1)
				if err := errors.Join(again.take(context.Background(), m), m.load()); err != nil || len(m.messages) != 200 {
					return fmt.Sprintf("%d messages after a rebuild: %v", len(m.messages), err)
				}
				again.Close()
				return "found, and whole after the next start"
			}
			now := &testStore{T: t, Store: s, drop: 1}
			bad := 0
			for i := range m.messages {
				if _, err := now.read(m, i); err != nil {
					bad++
				}
			}
			switch {
			case bad > 0:
				return "messages can't be read, though the log has them"
			case len(m.messages) < 200:
				return "messages are missing without a word"
			case len(m.messages) > 200:
				return "messages twice"
			}
			return "fine"
		}()
		kinds[kind]++
		example[kind] = fmt.Sprint(at)
	}
	for k, c := range kinds {
		if k != "fine" && !strings.HasPrefix(k, "found") && !strings.HasPrefix(k, "does not open") {
			t.Errorf("%s: %d of %d, such as offset %s", k, c, n, example[k])
		}
		t.Logf("%4d of %d: %s (such as offset %s)", c, n, k, example[k])
	}
}
