package boltstore

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs/vfstest"
)

// TestFullDisk: full, drained by POP3, accepting again, with no command given. The disk is full for the log and for the
// large bodies; that of the index is the machine's.
func TestFullDisk(t *testing.T) {
	for name, left := range map[string]int64{"to the brim": 0, "a little left": 3000} {
		t.Run(name, func(t *testing.T) {
			faults := vfstest.NewFaults()
			ts := newTestStore(t, Options{FS: faults, SegmentBytes: 32 << 10, Reserve: 1, reclaimInterval: time.Millisecond})
			ts.space.restore()
			var want [][]byte
			for i := range 30 {
				b := pattern(1000 + i)
				ts.send(b)
				want = append(want, b)
			}
			if _, err := os.Stat(filepath.Join(ts.dir, "ballast")); err != nil {
				t.Fatal(err)
			}
			faults.Fill(left)
			ts.space.asked = time.Time{}
			_, err := ts.Resolve(t.Context(), store.Attempt{To: "me@here.example", Size: 5000})
			if !errors.Is(err, store.ErrFull) {
				t.Errorf("RCPT on a full disk: %v, want ErrFull", err)
			}
			if _, err := ts.Begin(t.Context(), store.Envelope{Declared: 5000}); !errors.Is(err, store.ErrFull) {
				t.Errorf("DATA on a full disk: %v, want ErrFull", err)
			}
			ts.holds(want)
			ts.remove(indices(30))
			ts.holds(nil)
			faults.Fill(-1)
			ts.space.mu.Lock()
			ts.space.asked = time.Time{}
			ts.space.mu.Unlock()
			ts.send(pattern(100))
			ts.again(Options{FS: faults}, nil)
			ts.holds([][]byte{pattern(100)})
		})
	}
}

// TestFullDiskInFlight: a message that meets the full disk while it comes, or at its commit, is refused for now and leaves
// nothing.
func TestFullDiskInFlight(t *testing.T) {
	faults := vfstest.NewFaults()
	ts := newTestStore(t, Options{FS: faults, Reserve: 1})
	small, large := ts.begin(pattern(1000)), ts.begin(pattern(2*maxInMemory))
	faults.Fill(10)
	if err := small.Commit(t.Context(), ts.to()); !errors.Is(err, store.ErrFull) {
		t.Errorf("commit: %v, want ErrFull", err)
	}
	ts.space.mu.Lock()
	ts.space.asked = time.Time{}
	ts.space.mu.Unlock()
	if _, err := large.Write(pattern(1000)); !errors.Is(err, store.ErrFull) {
		t.Errorf("write: %v, want ErrFull", err)
	}
	large.Discard()
	if n := len(ts.files()); n != 0 {
		t.Errorf("%d files of bodies are left", n)
	}
	faults.Fill(-1)
	ts.space.mu.Lock()
	ts.space.asked = time.Time{}
	ts.space.mu.Unlock()
	if err := ts.Health(); err != nil {
		t.Errorf("health: %v", err)
	}
	ts.send(pattern(50))
	ts.holds([][]byte{pattern(50)})
}

// TestBallastIsGivenUp: it goes when the disk is full and comes back when there is plenty.
func TestBallastIsGivenUp(t *testing.T) {
	faults := vfstest.NewFaults()
	ts := newTestStore(t, Options{FS: faults, Reserve: 1})
	ts.space.restore()
	ts.send(pattern(10))
	name := filepath.Join(ts.dir, "ballast")
	faults.Fail(func(c vfstest.Call, file string) error {
		if _, err := os.Stat(name); err == nil && c == vfstest.Write && filepath.Ext(file) == ".seg" {
			return syscall.ENOSPC // as long as the ballast takes the room
		}
		return nil
	})
	faults.Fill(1 << 10)
	ts.remove([]int{0})
	if _, err := os.Stat(name); err == nil {
		t.Error("the ballast is still there")
	}
	faults.Fail(nil)
	faults.Fill(-1)
	ts.space.restore()
	ts.send(pattern(10))
	if info, err := os.Stat(name); err != nil || info.Size() != ts.space.size {
		t.Errorf("the ballast did not come back: %v", err)
	}
}

// TestRemoveAccountOnFullDisk: the ballast is given up for a removal with its mail too, and sizes that no disk has are too large for any.
func TestRemoveAccountOnFullDisk(t *testing.T) {
	faults := vfstest.NewFaults()
	ts := newTestStore(t, Options{FS: faults, Reserve: 1})
	ts.space.restore()
	ts.send(pattern(10))
	if !ts.space.tight(math.MaxInt64) || within(store.Quota{Octets: 1 << 20}, counts{messages: 1, octets: 10}, math.MaxInt64) {
		t.Error("there is room for 8 EiB")
	}
	name := filepath.Join(ts.dir, "ballast")
	faults.Fail(func(c vfstest.Call, file string) error {
		if _, err := os.Stat(name); err == nil && c == vfstest.Write && filepath.Ext(file) == ".seg" {
			return syscall.ENOSPC // as long as the ballast takes the room
		}
		return nil
	})
	faults.Fill(1 << 10)
	ts.apply(store.Edit{Op: store.RemoveAccount, Address: "me@here.example", DiscardMail: true})
	if st := ts.Stats(); st.Messages != 0 || st.Accounts != 0 {
		t.Errorf("%+v", st)
	}
}
