package vfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func syncedFile(t *testing.T) File {
	t.Helper()
	f, err := OS{}.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestSyncer: every fdatasync is seen to its end, also after a Close, and by the kernel's queue where there is one.
func TestSyncer(t *testing.T) {
	f := syncedFile(t)
	var s Syncer
	for i := range 3 {
		for n := range 100 {
			if err := f.WriteVec([][]byte{{byte(n)}}, int64(n)); err != nil {
				t.Fatal(err)
			}
			if err := s.Sync(f); err != nil {
				t.Fatal(i, n, err)
			}
		}
		if s.plain {
			t.Skip("the kernel has no queue for us, fdatasync was called")
		}
		if left := s.queue.pending(); left != 0 {
			t.Fatalf("%d ends were not waited for", left)
		}
		s.Close()
	}
}

// pending counts ends that nobody has taken.
func (q *syncQueue) pending() uint64 {
	var count [8]byte
	if n, _ := unix.Read(int(q.fd), count[:]); n < 0 {
		return 0
	}
	return uint64(count[0])
}

// TestSyncerFails: a file that can't be synced says so, whoever is asked to do it.
func TestSyncerFails(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var s Syncer
	defer s.Close()
	if err := s.Sync(osFile{w}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a pipe: %v", err)
	}
	f := syncedFile(t)
	if err := s.Sync(f); err != nil {
		t.Errorf("after that: %v", err)
	}
	f.Close()
	if err := s.Sync(f); err == nil {
		t.Error("a closed file was synced")
	}
}

// TestSyncerWithoutQueue: where the kernel has none, fdatasync is called.
func TestSyncerWithoutQueue(t *testing.T) {
	s := Syncer{queue: newSyncQueue()}
	s.queue.close() // the context is gone: io_submit fails
	for range 2 {
		if err := s.Sync(syncedFile(t)); err != nil {
			t.Fatal(err)
		}
		if !s.plain {
			t.Fatal("a context that is gone was taken for one")
		}
	}
}

type oddFile struct {
	File
	syncs int
}

func (f *oddFile) Sync() error {
	f.syncs++
	return nil
}

// TestSyncerOfOthers: an implementation that fails or forgets on purpose is asked itself.
func TestSyncerOfOthers(t *testing.T) {
	f := &oddFile{}
	var s Syncer
	if err := s.Sync(f); err != nil || f.syncs != 1 || s.queue != nil {
		t.Errorf("synced %d times, %v", f.syncs, err)
	}
}
