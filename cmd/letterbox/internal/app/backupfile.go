package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/vfs"
)

// BackupFile is a backup on its way to a file, an io.Writer for one goroutine. It has its name only when it is whole, was read
// back and is durable.
type BackupFile struct {
	fs    vfs.FS
	file  vfs.File
	lock  *os.File // on the same file, while it is written
	name  string
	leave int64 // octets of the file system that stay free; 0: it may be filled

	size   int64
	synced int64 // of these
}

const (
	// backupUnfinished ends the name of a backup that is on its way.
	backupUnfinished = ".unfinished"
	// backupSync is how many octets are written between two syncs: so many at a time go to the disk beside those of
	// deliveries, whose own sync may have to wait for them, and a stop waits for no more.
	backupSync = 16 << 20
)

// errNoRoom means that a backup would take the room that deliveries need.
var errNoRoom = errors.New("too little is free there")

// NewBackupFile begins a backup of this name. It fails with an *InputError when there is a file of that name already or none
// can be made.
func NewBackupFile(name string) (*BackupFile, error) {
	if _, err := os.Lstat(name); err == nil {
		return nil, &InputError{Text: name + " is there already: name a new file, or remove that one"}
	}
	b, err := newBackupFile(vfs.OS{}, name, 0)
	if err != nil {
		return nil, &InputError{fmt.Sprintf("can't write %s: %v", name, shorter(err)), err}
	}
	return b, nil
}

// newBackupFile makes a file of its own: others may write to the folder too, and what stands there under that name, a link or a
// file of another mode, is removed and not written to. One that somebody writes to is not.
func newBackupFile(fsys vfs.FS, name string, leave int64) (*BackupFile, error) {
	unfinished := name + backupUnfinished
	if err := removeBroken(fsys, unfinished); err != nil {
		return nil, err
	}
	file, err := fsys.OpenFile(unfinished, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	lock, busy, err := lockBackup(unfinished)
	switch {
	case errors.Is(err, fs.ErrNotExist): // between the two calls another has removed ours, as below
		return nil, errors.Join(errBusy, file.Close())
	case err != nil:
		return nil, errors.Join(err, file.Close(), fsys.Remove(unfinished))
	case busy, !same(file, lock): // or put its own there
		return nil, errors.Join(errBusy, lock.Close(), file.Close())
	}
	return &BackupFile{fs: fsys, file: file, lock: lock, name: name, leave: leave}, nil
}

// errBusy means that the same backup is being written already.
var errBusy = errors.New("another backup of that name is being written")

// removeBroken removes what a backup left that did not come to its end.
func removeBroken(fsys vfs.FS, name string) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return &fs.PathError{Op: "open", Path: name, Err: unix.EISDIR}
	case info.Mode().IsRegular():
		lock, busy, _ := lockBackup(name) // what can't be opened is nobody's backup
		if lock != nil {
			defer lock.Close() //nolint:errcheck // nothing was written
		}
		if busy {
			return errBusy
		}
	}
	return fsys.Remove(name)
}

// lockBackup takes the lock of a file, which ends with the process however that ends. Where the file system knows none, there
// is none.
func lockBackup(name string) (lock *os.File, busy bool, err error) {
	lock, err = os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, false, err
	}
	return lock, errors.Is(unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK), nil
}

// same tells whether both are one file, as far as a file system says.
func same(file vfs.File, lock *os.File) bool {
	of, ok := file.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return true
	}
	ours, err := of.Stat()
	there, lockErr := lock.Stat()
	return err != nil || lockErr != nil || os.SameFile(ours, there)
}

// Write appends p.
func (b *BackupFile) Write(p []byte) (int, error) {
	if b.size-b.synced >= backupSync || b.size == 0 {
		if err := b.pause(); err != nil {
			return 0, err
		}
	}
	if err := b.file.WriteVec([][]byte{p}, b.size); err != nil {
		return 0, err
	}
	b.size += int64(len(p))
	return len(p), nil
}

// pause syncs what was written and looks whether more may be.
func (b *BackupFile) pause() error {
	if b.leave > 0 {
		free, _, err := b.fs.Space(filepath.Dir(b.name))
		if err != nil {
			return err
		}
		if free < b.leave {
			return errNoRoom
		}
	}
	if b.size == b.synced {
		return nil
	}
	b.synced = b.size
	return b.file.Sync()
}

// Finish gives the file its name once it holds, read back, what want says of it, and is durable, also where something is left out. Given an error, or in the
// case of one, it removes the file.
func (b *BackupFile) Finish(ctx context.Context, want store.BackupReport, err error) error {
	if err == nil {
		err = b.file.Sync()
	}
	if err == nil {
		err = b.readBack(ctx, want)
	}
	err = errors.Join(err, b.file.Close())
	if err == nil {
		err = b.fs.Rename(b.name+backupUnfinished, b.name)
	}
	if err == nil {
		err = b.fs.SyncDir(filepath.Dir(b.name))
	}
	defer b.lock.Close() //nolint:errcheck // it was written by the other
	if err != nil {
		if gone := b.fs.Remove(b.name + backupUnfinished); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}

func (b *BackupFile) readBack(ctx context.Context, want store.BackupReport) error {
	want.LeftOut = nil // the file does not say what it lacks
	got, err := boltstore.CheckBackup(ctx, io.NewSectionReader(b.file, 0, math.MaxInt64))
	if err == nil && (got != want || got.Octets != b.size) {
		err = fmt.Errorf("%s does not hold what was written to it", b.name)
	}
	return err
}
