package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
