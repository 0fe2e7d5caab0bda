package boltstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

// shared is a store with a message that one of two recipients has deleted, another that lies in a bin, and one that both have.
func shared(t *testing.T) *testStore {
	ts := newTestStore(t, Options{reclaimInterval: time.Hour, keepInterval: time.Hour, Keep: KeepPolicy{UndeleteFor: time.Hour}})
	ts.apply(store.Edit{Op: store.AddAccount, Address: "you@here.example", Hash: testHash})
	both := store.Final{Recipients: []store.Recipient{{Maildrop: ts.drop, Prefix: []byte("To: me\r\n")}, {Maildrop: ts.drop + 1}}}
	for range 3 {
		if err := ts.begin(pattern(1000)).Commit(t.Context(), both); err != nil {
			t.Fatal(err)
		}
	}
	ts.remove([]int{0, 1})
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	return ts
}

// TestVerifyOfSharedMail: a message that not all of its recipients have is in order, and what is wrong with one of several entries
// is found.
func TestVerifyOfSharedMail(t *testing.T) {
	ts := shared(t)
	if n, err := ts.purge(t.Context(), time.Now().Add(time.Hour)); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	v, err := ts.Verify(t.Context())
	if err != nil || v.Damage != 0 || v.Messages != 3 || v.Entries != 4 {
		t.Fatalf("%+v, %v", v, err)
	}
	change := func(tx *bbolt.Tx, drop store.MaildropID, f func(*entry)) error {
		entries := tx.Bucket(bucketEntries)
		k, value := entries.Cursor().Seek(entryKey(ts.drop+1, 0)) // of a message that one has
		if drop == ts.drop+1 {
			k, value = entries.Cursor().Last() // of one that both have
		}
		var e entry
		if !e.decode(k, value) {
			t.Fatal("no entry")
		}
		f(&e)
		key := entryKey(drop, e.seq)
		n := decodeCounts(tx.Bucket(bucketDrops).Get(key[:8]))
		if drop == ts.drop {
			n = n.plus(e.count())
		}
		return errors.Join(entries.Put(key, e.encode(key)), tx.Bucket(bucketDrops).Put(key[:8], n.encode()))
	}
	for want, spoil := range map[string]func(tx *bbolt.Tx) error{
		"the entry of maildrop 2 does not fit": func(tx *bbolt.Tx) error {
			return change(tx, ts.drop+1, func(e *entry) { e.foreign, e.octets = "x", e.octets+1 })
		},
		"maildrop 1 has an entry of message": func(tx *bbolt.Tx) error { return change(tx, ts.drop, func(*entry) {}) },
	} {
		if err := ts.index.db.Update(spoil); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range ts.verify() {
			found = found || strings.Contains(f.Text, want)
		}
		if !found {
			t.Errorf("not found: %s", want)
		}
		ts.again(Options{reclaimInterval: time.Hour, keepInterval: time.Hour}, func(dir string) { os.Remove(filepath.Join(dir, indexFile)) })
		if found := ts.verify(); len(found) != 0 {
			t.Errorf("after a rebuild: %v", found)
		}
	}
}

// TestVerifyOfTheBin: what lies in the bin fits too, also after a rebuild.
func TestVerifyOfTheBin(t *testing.T) {
	ts := shared(t)
	for range 2 {
		v, err := ts.Verify(t.Context())
		if err != nil || v.Damage != 0 || v.Messages != 3 || v.Entries != 6 {
			t.Errorf("%+v, %v", v, err)
		}
		ts.again(Options{reclaimInterval: time.Hour, keepInterval: time.Hour, Keep: KeepPolicy{UndeleteFor: time.Hour}}, func(dir string) {
			os.Remove(filepath.Join(dir, indexFile))
		})
	}
}

// TestVerifyTellsProgress: from nothing to all of the log.
func TestVerifyTellsProgress(t *testing.T) {
	ts := shared(t)
	var told [][2]int64
	ctx := store.WithProgress(t.Context(), func(done, total int64) { told = append(told, [2]int64{done, total}) })
	if _, err := ts.Verify(ctx); err != nil || len(told) < 2 {
		t.Fatalf("told %v, %v", told, err)
	}
	for i, now := range told {
		if now[1] != told[0][1] || i > 0 && now[0] < told[i-1][0] {
			t.Errorf("told %v", told)
		}
	}
	if last := told[len(told)-1]; last[0] != last[1] || last[0] < 3000 {
		t.Errorf("told %v at the end", last)
	}
}

// TestRepairTellsProgress: from nothing to all of the log, which is read twice, also where some of it is lost.
func TestRepairTellsProgress(t *testing.T) {
	ts := newTestStore(t, quiet)
	for range 20 {
		ts.send(pattern(8000))
	}
	place := ts.pick().places[2].pos()
	if err := ts.Close(); err != nil {
		t.Fatal(err)
	}
	size := logOctets(ts.dir)
	flip(t, filepath.Join(ts.dir, "log", fmt.Sprintf("%016d.seg", place.Segment)), place.Offset+20)
	var told [][2]int64
	ctx := store.WithProgress(t.Context(), func(done, total int64) { told = append(told, [2]int64{done, total}) })
	lost := 0
	if err := Repair(ctx, ts.dir, func(store.Finding) { lost++ }); err != nil || lost != 1 || len(told) < 40 {
		t.Fatalf("%d are lost, told %v, %v", lost, told, err)
	}
	for i, now := range told {
		if now[1] != 2*size || i > 0 && now[0] < told[i-1][0] {
			t.Fatalf("told %v", told)
		}
	}
	last, before := told[len(told)-1][0], told[len(told)-2][0]
	if last != 2*size || before < last-9000 {
		t.Errorf("told %d and %d of %d at the end", before, last, 2*size)
	}
}

// noRename is a file system on which an index that was built does not get its name.
type noRename struct{ vfs.FS }

var errNoRename = errors.New("no rename")

func (n noRename) Rename(from, to string) error {
	if filepath.Base(to) == indexFile {
		return errNoRename
	}
	return n.FS.Rename(from, to)
}

// TestRebuildBrokenOff: an index that was not built to its end is no index, whatever it holds, and the next start builds it.
func TestRebuildBrokenOff(t *testing.T) {
	ts := shared(t)
	index, unfinished := filepath.Join(ts.dir, indexFile), filepath.Join(ts.dir, unfinishedIndex)
	for what, leave := range map[string]func() error{
		"without its name": func() error { return nil },
		"garbage":          func() error { return os.WriteFile(unfinished, pattern(100_000), 0o600) },
		"cut off":          func() error { return os.Truncate(unfinished, 8192) },
	} {
		if err := errors.Join(ts.Close(), os.Remove(index)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ts.dir, Options{FS: noRename{vfs.OS{}}}); !errors.Is(err, errNoRename) {
			t.Fatalf("opened, or %v", err)
		}
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		ts.Store = openTest(t, ts.dir, quiet)
		v, err := ts.Verify(t.Context())
		if err != nil || v.Damage != 0 || v.Messages != 3 || v.Entries != 6 {
			t.Errorf("%s: %+v, %v", what, v, err)
		}
		if _, err := os.Stat(unfinished); err == nil {
			t.Errorf("%s: it is still there", what)
		}
	}
}
