package boltstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
	"example.org/letterbox/store/vfs/vfstest"
)

// D1: after a repair that lost something, verify never finds the store in order again.
func TestCountersAfterRepair(t *testing.T) {
	ts := newTestStore(t, quiet)
	for range 60 {
		ts.send(bytes.Repeat([]byte{'x'}, 4000))
	}
	ts.indexer.settle(0)
	at := ts.pick().places[20].pos()
	ts.Close()
	flip(t, filepath.Join(ts.dir, "log", "0000000000000002.seg"), at.Offset+10)
	n := 0
	if err := Repair(t.Context(), ts.dir, func(store.Finding) { n++ }); err != nil {
		t.Fatal(err)
	}
	ts.Store = openTest(t, ts.dir, quiet)
	t.Log(n, "lost;", len(ts.pick2()), "left; stats", ts.Stats().Messages)
	for _, f := range ts.verify() {
		t.Error(f.Text)
	}
}

// D2: Apply is all or none, but the mail of the first account is gone.
func TestApplyHalf(t *testing.T) {
	faults := vfstest.NewFaults()
	ts := newTestStore(t, Options{FS: faults, reclaimInterval: time.Hour})
	ts.send([]byte("x\r\n"))
	ts.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: "you@here.example", Hash: testHash}})
	ts.drop = 2
	ts.send([]byte("y\r\n"))
	faults.Fail(vfstest.Once(vfstest.Write, 1, syscall.EIO))
	_, err := ts.Apply(t.Context(), 0, []store.Edit{
		{Op: store.RemoveAccount, Address: "me@here.example", DiscardMail: true},
		{Op: store.RemoveAccount, Address: "you@here.example", DiscardMail: true},
	})
	d, _ := ts.Directory(t.Context())
	if err != nil && d.Accounts[0].Messages == 0 {
		t.Errorf("Apply failed (%v), %d accounts are there, and %s has %d messages", err, len(d.Accounts), d.Accounts[0].Address, d.Accounts[0].Messages)
	}
}

// D3: Verify beside reclaim fails.
type sizeHook struct {
	vfs.OS
	hook atomic.Pointer[func(string)]
}
type sizeFile struct {
	vfs.File
	fs   *sizeHook
	name string
}

func (f *sizeHook) OpenFile(n string, fl int, p os.FileMode) (vfs.File, error) {
	file, err := f.OS.OpenFile(n, fl, p)
	if err != nil {
		return nil, err
	}
	return &sizeFile{file, f, n}, nil
}
func (s *sizeFile) Size() (int64, error) {
	if h := s.fs.hook.Swap(nil); h != nil {
		(*h)(s.name)
	}
	return s.File.Size()
}
func TestSealedRace(t *testing.T) {
	fsys := &sizeHook{}
	o := quiet
	o.FS = fsys
	ts := newTestStore(t, o)
	for range 60 {
		ts.send(bytes.Repeat([]byte{'x'}, 4000))
	}
	ts.indexer.settle(0)
	hook := func(string) {
		v := &victim{s: ts.Store, number: 3, tombs: map[tomb][]uint64{}}
		if err := v.reclaim(t.Context()); err != nil {
			t.Error(err)
		}
	}
	fsys.hook.Store(&hook)
	if _, err := ts.Verify(t.Context()); err != nil {
		t.Errorf("verify beside reclaim: %v", err)
	}
}

// D4: half a ballast stays for ever.
func TestHalfBallast(t *testing.T) {
	faults := vfstest.NewFaults()
	ts := newTestStore(t, Options{FS: faults, reclaimInterval: time.Hour, ballastInterval: time.Hour})
	n := 0
	faults.Fail(func(c vfstest.Call, name string) error {
		if c == vfstest.Write && strings.HasSuffix(name, "ballast") {
			if n++; n > 20 {
				return syscall.ENOSPC
			}
		}
		return nil
	})
	ts.space.restore()
	info, err := os.Stat(filepath.Join(ts.dir, "ballast"))
	if err == nil && !ts.space.makeRoom(1<<62) {
		t.Errorf("the disk is full, %d octets of ballast are there, and makeRoom does not give them up", info.Size())
	}
}

// D6: a login that was verified before its account was disabled.
func TestLateLogin(t *testing.T) {
	ts := newTestStore(t, Options{reclaimInterval: time.Hour})
	ts.send([]byte("x\r\n"))
	// authenticate() has returned maildrop 1; then:
	if _, err := ts.Apply(t.Context(), 0, []store.Edit{{Op: store.DisableAccount, Address: "me@here.example"}}); err != nil {
		t.Fatal(err)
	}
	m := lockable(ts.Store, ts.drop)
	if err := ts.take(t.Context(), m); !errors.Is(err, store.ErrCredential) {
		t.Errorf("a disabled account took its maildrop: %v", err)
	}
}
