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

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/vfs"
)

// BackupFile is a backup on its way to a file, an io.Writer for one goroutine. It has its name only when it is whole, was read
// back and is durable.
type BackupFile struct {
	fs    vfs.FS
	file  vfs.File
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

func newBackupFile(fsys vfs.FS, name string, leave int64) (*BackupFile, error) {
	file, err := fsys.OpenFile(name+backupUnfinished, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &BackupFile{fs: fsys, file: file, name: name, leave: leave}, nil
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
