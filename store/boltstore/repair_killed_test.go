package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

// killedFS ends the run once the first segment that is written anew has its name.
type killedFS struct {
	vfs.OS
	killed error
}

func (k *killedFS) SyncDir(name string) error {
	if err := k.OS.SyncDir(name); err != nil {
		return err
	}
	panic(k.killed)
}

// repairKilled is what repairLog does up to a kill behind the first segment that it wrote anew.
func (ts *testStore) repairKilled() {
	ts.Helper()
	killed := errors.New("killed")
	defer func() {
		if p := recover(); p != nil && p != any(killed) {
			panic(p)
		}
	}()
	id, err := loadIdentity(ts.dir)
	if err == nil {
		_, err = markRepair(ts.dir)
	}
	if err != nil {
		ts.Fatal(err)
	}
	opt := seglog.Options{FS: &killedFS{killed: killed}, Store: id.storeID(), Key: id.Key, Flags: knownFlags}
	err = seglog.Repair(filepath.Join(ts.dir, "log"), knownDurable(ts.dir, id), opt, func(*seglog.Corrupt) {})
	ts.Fatalf("the repair was not killed: %v", err)
}

// TestRepairKilled: a repair that is killed behind the first segment that it wrote anew loses nothing but what was damaged, also where
// the store is opened, mail is deleted and room is reclaimed before it is made again.
func TestRepairKilled(t *testing.T) {
	ts := newTestStore(t, quiet)
	for i := range 120 {
		ts.send(bytes.Repeat(fmt.Appendf(nil, "message %d\r\n", i), 150))
	}
	sealed, err := ts.log.Sealed()
	if err != nil || len(sealed) < 3 {
		t.Fatal(sealed, err)
	}
	damaged := sealed[1].Number
	if err := ts.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, filepath.Join(ts.dir, "log", fmt.Sprintf("%016d.seg", damaged)), 192+20) // the segment's first record
	ts.repairKilled()

	ts.Store = openTest(t, ts.dir, quiet)
	m := ts.pick()
	unread := 0
	var gone []int
	left := map[store.ID]bool{}
	for i, msg := range m.Messages() {
		if _, err := ts.read(m, i); err != nil {
			unread++
		}
		if m.places[i].pos().Segment == damaged && i%4 == 0 {
			left[msg.ID] = true
		} else {
			gone = append(gone, i)
		}
	}
	if n := len(m.Messages()); n != 119 || unread != 0 {
		t.Errorf("%d messages wait, of 119 that are whole, and %d of them can't be read", n, unread)
	}
	if err := m.Commit(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	m.Close()
	ts.send([]byte("later\r\n"))
	ts.reclaim()
	if err := errors.Join(ts.Close(), Repair(t.Context(), ts.dir, func(store.Finding) {})); err != nil {
		t.Fatal(err)
	}
	ts.Store = openTest(t, ts.dir, quiet)
	for _, msg := range ts.pick().Messages() {
		delete(left, msg.ID)
	}
	if len(left) > 0 {
		t.Errorf("%d messages are lost that were whole", len(left))
	}
}
