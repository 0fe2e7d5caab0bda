package boltstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"example.org/letterbox/store/vfs"
)

// dirtyAtRename notes how many pages of the index were not on the disk when it got its name.
type dirtyAtRename struct {
	vfs.OS
	pages uint64
	err   error
}

func (d *dirtyAtRename) Rename(from, to string) error {
	if filepath.Base(to) == indexFile {
		d.pages, d.err = dirty(from)
	}
	return d.OS.Rename(from, to)
}

func dirty(name string) (pages uint64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var is unix.Cachestat_t
	err = unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &is, 0)
	return is.Dirty + is.Writeback, err
}

// TestRebuiltIndexIsOnDisk: an index that is built without a sync is on the disk, all of it, when it gets its name. Kernels before
// Linux 6.5 don't say what is.
func TestRebuiltIndexIsOnDisk(t *testing.T) {
	ts := newTestStore(t, quiet)
	for range 50 {
		ts.send([]byte("hello\r\n"))
	}
	if err := errors.Join(ts.Close(), os.Remove(filepath.Join(ts.dir, indexFile))); err != nil {
		t.Fatal(err)
	}
	disk := &dirtyAtRename{err: errors.New("not named")}
	o := quiet
	o.FS = disk
	ts.Store = openTest(t, ts.dir, o)
	if errors.Is(disk.err, unix.ENOSYS) || errors.Is(disk.err, unix.EPERM) {
		return
	}
	if disk.err != nil || disk.pages != 0 {
		t.Errorf("%d pages are not on the disk: %v", disk.pages, disk.err)
	}
}
