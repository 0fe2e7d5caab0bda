package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs/vfstest"
)

// noStoreIn fails unless a folder is what a restore leaves that failed: no store, and room for the next one.
func noStoreIn(t *testing.T, what, dir string) {
	t.Helper()
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNoStore) {
		t.Errorf("%s: it makes a store: %v", what, err)
	}
	if _, err := os.Stat(filepath.Join(dir, restoringFolder)); err == nil {
		t.Errorf("%s: what was restored is left", what)
	}
}

// TestRestoreDamaged: a backup that is cut off anywhere, or has one octet wrong, is refused as what it is, and nothing is left of it: also
// where the last octets of a body are wrong, in the log or in a file of its own.
func TestRestoreDamaged(t *testing.T) {
	ts, _, _ := backedUp(t)
	ts.send(pattern(2*maxInMemory + 3))
	ts.send(pattern(maxInMemory))
	var out bytes.Buffer
	if _, err := ts.Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	backup := out.Bytes()
	dir := filepath.Join(scratch(t), "restored")
	refused := func(what string, b []byte) {
		t.Helper()
		if _, err := Restore(t.Context(), dir, bytes.NewReader(b), quiet); !errors.Is(err, ErrBackup) {
			t.Fatalf("%s: %v", what, err)
		}
		noStoreIn(t, what, dir)
	}
	var ends []int // of bodies
	for i := 1; i < len(backup); i++ {
		if bytes.HasPrefix(backup[i:], []byte("LBB1")) {
			ends = append(ends, i)
		}
	}
	for _, end := range ends[max(0, len(ends)-5):] {
		b := bytes.Clone(backup)
		b[end-1] ^= 1
		refused(fmt.Sprintf("octet %d of %d wrong", end-1, len(b)), b)
	}
	for n := 0; n < len(backup); n += len(backup) / 20 {
		refused(fmt.Sprintf("cut off at %d of %d", n, len(backup)), backup[:n])
	}
	if _, err := Restore(t.Context(), dir, bytes.NewReader(backup), quiet); err != nil {
		t.Errorf("and then the whole one: %v", err)
	}
}

// TestRestoreFaults: whatever call of the file system fails, a restore says so and leaves no store, or one that is whole; and it can be
// made again.
func TestRestoreFaults(t *testing.T) {
	ts := newTestStore(t, quiet)
	for i := range 40 {
		ts.send(pattern(i * 50))
	}
	ts.send(pattern(maxInMemory + 1))
	ts.send(pattern(maxInMemory + 2))
	var out bytes.Buffer
	if _, err := ts.Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	want := contentOf(t, ts.Store).Accounts
	for _, call := range []vfstest.Call{vfstest.Open, vfstest.Mkdir, vfstest.Rename, vfstest.SyncDir, vfstest.Write, vfstest.Sync} {
		failed := 0
		for n := 0; ; n++ {
			happened, refused := restoreFails(t, out.Bytes(), call, n, want)
			if !happened { // there are no more calls of this kind
				break
			}
			if refused {
				failed++
			}
		}
		t.Logf("%s: %d made it fail", call, failed)
		if failed == 0 {
			t.Errorf("no %s made a restore fail", call)
		}
	}
}

// restoreFails restores while the n-th call of a kind fails, and tells whether it came to that, and whether the restore failed for it.
func restoreFails(t *testing.T, backup []byte, call vfstest.Call, n int, want map[string]formatAccount) (happened, refused bool) {
	t.Helper()
	faults := vfstest.NewFaults()
	var hit atomic.Bool
	once := vfstest.Once(call, n, errors.New("broken"))
	faults.Fail(func(c vfstest.Call, name string) error {
		err := once(c, name)
		if err != nil {
			hit.Store(true)
		}
		return err
	})
	o := quiet
	o.FS, o.SegmentBytes = faults, 16<<10
	dir := filepath.Join(scratch(t), "restored")
	_, err := Restore(t.Context(), dir, bytes.NewReader(backup), o)
	faults.Fail(nil)
	if refused = err != nil; refused {
		if _, err = os.Stat(filepath.Join(dir, identityFile)); errors.Is(err, os.ErrNotExist) {
			_, err = Restore(t.Context(), dir, bytes.NewReader(backup), o)
		}
		if err != nil {
			t.Fatalf("%s %d: again: %v", call, n, err)
		}
	}
	again := &testStore{T: t, Store: openTest(t, dir, quiet), drop: 1}
	if got := contentOf(t, again.Store).Accounts; !reflect.DeepEqual(got, want) || len(again.verify()) != 0 {
		t.Fatalf("%s %d: restored %+v, want %+v", call, n, got, want)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	os.RemoveAll(dir)
	return hit.Load(), refused
}

// TestRestoreNothing: the backup of a store without mail makes one, which takes mail.
func TestRestoreNothing(t *testing.T) {
	ts := newTestStore(t, quiet)
	var out bytes.Buffer
	if _, err := ts.Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(scratch(t), "restored")
	if got, err := Restore(t.Context(), dir, &out, quiet); err != nil || got != (store.BackupReport{Octets: got.Octets}) {
		t.Fatalf("%+v, %v", got, err)
	}
	again := &testStore{T: t, Store: openTest(t, dir, quiet), drop: 1}
	if st := again.Stats(); st.Segments != 1 {
		t.Errorf("%+v", st)
	}
	again.send([]byte("x\r\n"))
	again.withoutIndex()
	if st := again.Stats(); st.Messages != 1 || len(again.verify()) != 0 {
		t.Errorf("%+v", st)
	}
}

// TestRestoredLog: the log of a restored store says all that its index says: segments, counters and the largest id, also where messages are
// larger than a segment. A rebuild makes the same index, and counts the same.
func TestRestoredLog(t *testing.T) {
	ts, backup, report := backedUp(t)
	o := quiet
	o.SegmentBytes = 4 << 10
	dir := filepath.Join(scratch(t), "restored")
	if _, err := Restore(t.Context(), dir, bytes.NewReader(backup), o); err != nil {
		t.Fatal(err)
	}
	again := &testStore{T: t, Store: openTest(t, dir, o), drop: 1}
	before, content, lastID := again.Stats(), contentOf(t, again.Store), again.ids.last
	if before.Messages != report.Entries || before.Segments < 5 || before.Octets != ts.Stats().Octets {
		t.Errorf("%+v, want %+v", before, report)
	}
	state, _ := again.indexer.snapshot()
	if int64(state.totals.restored) != report.Entries || state.totals.delivered != 0 || lastID.IsZero() {
		t.Errorf("%+v", state)
	}
	again.withoutIndex()
	rebuilt, _ := again.indexer.snapshot()
	if rebuilt.totals != state.totals || rebuilt.lastID != state.lastID || !reflect.DeepEqual(contentOf(t, again.Store), content) || again.ids.last != lastID {
		t.Errorf("rebuilt %+v, was %+v", rebuilt, state)
	}
	if found := again.verify(); len(found) != 0 {
		t.Errorf("verify: %v", found)
	}
}
