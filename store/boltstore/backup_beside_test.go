package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

// TestBackupOfADamagedStore: a message that can't be read keeps no other out of a backup, which says that it is left out.
func TestBackupOfADamagedStore(t *testing.T) {
	ts := newTestStore(t, quiet)
	for i := range 10 {
		ts.send(bytes.Repeat(fmt.Appendf(nil, "message %d\r\n", i), 20))
	}
	ts.send(pattern(2 * maxInMemory))
	want := []string{ts.rotten(4).String(), ts.pick2()[10].ID.String()}
	flip(t, ts.files()[0], 100)
	var out bytes.Buffer
	report, err := ts.Backup(t.Context(), &out)
	if err != nil || report.Messages != 9 || report.LeftOut == nil || report.LeftOut.Messages != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	for i, f := range report.LeftOut.Findings {
		if f.Message != want[i] || !strings.Contains(f.Text, want[i]+" is left out: the checksum of its body does not match") {
			t.Errorf("%+v, want one about %s", f, want[i])
		}
	}
	if !ts.Stats().LastBackup.IsZero() {
		t.Error("that counts as a backup")
	}
	dir := filepath.Join(scratch(t), "restored")
	if got, err := Restore(t.Context(), dir, &out, quiet); err != nil || got.Messages != 9 {
		t.Errorf("restored: %+v, %v", got, err)
	}
}

// openHook calls f once before a file is opened for reading.
type openHook struct {
	vfs.OS
	mu   sync.Mutex
	name string
	f    func()
}

func (h *openHook) set(name string, f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.name, h.f = name, f
}

func (h *openHook) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	h.mu.Lock()
	var f func()
	if flag == os.O_RDONLY && strings.HasSuffix(name, h.name) {
		f, h.f = h.f, nil
	}
	h.mu.Unlock()
	if f != nil {
		f()
	}
	return h.OS.OpenFile(name, flag, perm)
}

// TestBackupBesideDeletion: a large message that is deleted while a backup comes to it is left out, and nothing is amiss; nor is its file
// looked for where it lies in a bin.
func TestBackupBesideDeletion(t *testing.T) {
	hook := &openHook{}
	ts := newTestStore(t, Options{FS: hook, reclaimInterval: time.Hour, keepInterval: time.Hour})
	ts.send([]byte("one\r\n"))
	large := ts.send(pattern(2 * maxInMemory))
	ts.send([]byte("three\r\n"))
	hook.set(large.String(), func() {
		ts.remove([]int{1})
		if err := ts.indexer.settle(0); err != nil {
			t.Error(err)
		}
	})
	report, err := ts.Backup(t.Context(), io.Discard)
	if err != nil || report.Messages != 2 || report.LeftOut != nil {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestBackupBesidePurge: what lies in a bin, and is purged while the backup looks at it, is not taken for mail that waits.
func TestBackupBesidePurge(t *testing.T) {
	ts := newTestStore(t, Options{reclaimInterval: time.Hour, keepInterval: time.Hour, Keep: KeepPolicy{UndeleteFor: time.Hour}})
	ts.apply(store.Edit{Op: store.AddAccount, Address: "you@here.example", Hash: testHash})
	for range 40 {
		d := ts.begin(pattern(100))
		if err := d.Commit(t.Context(), store.Final{Recipients: []store.Recipient{{Maildrop: 1}, {Maildrop: 2}}}); err != nil {
			t.Fatal(err)
		}
		ts.remove([]int{0})
		if err := ts.indexer.settle(0); err != nil {
			t.Fatal(err)
		}
		purged := make(chan error, 1)
		go func() {
			_, err := ts.purge(t.Context(), time.Unix(1<<40, 0))
			purged <- errors.Join(err, ts.indexer.settle(0))
		}()
		for running := true; running; {
			select {
			case err := <-purged:
				if running = false; err != nil {
					t.Fatal(err)
				}
			default:
			}
			var at whereabouts
			err := at.lookAgain(ts.index, d.ID())
			if err != nil || len(at.drops) != 1 {
				t.Fatalf("it waits in %v: %v", at.drops, err)
			}
		}
	}
}

// writeHook calls f once before the first octets of a backup are written, which is when its list of messages is made.
type writeHook struct {
	bytes.Buffer
	f func()
}

func (w *writeHook) Write(p []byte) (int, error) {
	if w.f != nil {
		w.f()
		w.f = nil
	}
	return w.Buffer.Write(p)
}

// TestBackupBesideRemovedAccount: mail of an account that is removed with it while the backup is written is not in the store that is made
// of that.
func TestBackupBesideRemovedAccount(t *testing.T) {
	ts := newTestStore(t, quiet)
	ts.apply(store.Edit{Op: store.AddAccount, Address: "you@here.example", Hash: testHash})
	final := store.Final{Recipients: []store.Recipient{{Maildrop: 1}, {Maildrop: 2}}}
	if err := ts.begin(pattern(2*maxInMemory)).Commit(t.Context(), final); err != nil {
		t.Fatal(err)
	}
	out := &writeHook{f: func() {
		ts.apply(store.Edit{Op: store.RemoveAccount, Address: "you@here.example", DiscardMail: true})
	}}
	report, err := ts.Backup(t.Context(), out)
	if err != nil || report.Entries != 2 {
		t.Fatalf("%+v, %v: the account was removed before its mail was looked up", report, err)
	}
	dir := filepath.Join(scratch(t), "restored")
	if _, err := Restore(t.Context(), dir, &out.Buffer, quiet); err != nil {
		t.Fatal(err)
	}
	again := &testStore{T: t, Store: openTest(t, dir, quiet), drop: 1}
	if st := again.Stats(); st.Messages != 1 || len(again.verify()) != 0 {
		t.Errorf("%d entries are restored, and %v", st.Messages, again.verify())
	}
}
