package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

// restoringFolder is where a store is made from a backup, in the folder that is to hold it. It has its name until all of the
// backup is durable in it: a restore that was broken off leaves nothing that is taken for a store, and can be made again.
const restoringFolder = "restoring"

// Restore makes a store in dir, which must be empty or not there, of a backup. It gets an id and a key of its own; messages
// keep their ids, and so their UIDLs. Whatever it fails with, there is a whole store in dir afterwards or none. It reads ahead, and returns
// when a read of r that is under way has ended.
func Restore(ctx context.Context, dir string, r io.Reader, o Options) (store.BackupReport, error) {
	var report store.BackupReport
	if _, err := leftIn(dir); err != nil { // before a lock is left in a folder of somebody else
		return report, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return report, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return report, err
	}
	defer lock.release() //nolint:errcheck // nothing was written to it
	left, err := leftIn(dir)
	if err != nil {
		return report, err
	}
	for _, name := range left {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return report, err
		}
	}
	part := filepath.Join(dir, restoringFolder)
	if err := os.RemoveAll(part); err != nil {
		return report, err
	}
	o.defaults()
	o.Create, o.Brief = true, true // what comes in is old, and must not go before it is all there
	report, err = makeOf(ctx, r, part, o)
	if err != nil {
		return report, errors.Join(err, os.RemoveAll(part))
	}
	return report, moveUp(o.FS, part, dir)
}

// makeOf makes a store of a backup in a folder that is not there. It is durable, or it failed.
func makeOf(ctx context.Context, r io.Reader, dir string, o Options) (report store.BackupReport, err error) {
	s, err := Open(dir, o) // an empty store first: its identity, its accounts, and since when its clock is believed
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		return report, err
	}
	if report, err = fill(ctx, r, dir, o); err != nil {
		return report, err
	}
	if s, err = Open(dir, o); err != nil {
		return report, err
	}
	return report, errors.Join(s.removeStrays(), s.Close())
}

// leftIn lists what a restore that was broken off left in dir, and refuses a folder that holds anything else. Where identity
// stands the store is whole, whatever else does.
func leftIn(dir string) (left []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if slices.Contains(names, identityFile) {
		return nil, fmt.Errorf("%w: %s holds a store", ErrNotEmpty, dir)
	}
	brokenOff := slices.Contains(names, restoringFolder)
	for _, name := range names {
		switch {
		case name == restoringFolder, name == "lock", name == "lost+found":
		case brokenOff && slices.Contains(storeParts(), name):
			left = append(left, name)
		default:
			return nil, fmt.Errorf("%w: %s holds %s", ErrNotEmpty, dir, name)
		}
	}
	return left, nil
}

// storeParts are the files and folders of a store, its identity last.
func storeParts() []string {
	return []string{"log", "bodies", "accounts.db", indexFile, "ballast", clockFile, identityFile}
}

// ErrNotEmpty means that a store can't be restored into a folder, since something is there.
var ErrNotEmpty = errors.New("only an empty folder can take a backup")

// moveUp gives the store its place. Its identity goes last: before that the folder is no store.
func moveUp(fsys vfs.FS, part, dir string) error {
	for _, name := range storeParts() {
		err := fsys.Rename(filepath.Join(part, name), filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && (name == "ballast" || name == clockFile) {
			continue
		}
		if err == nil {
			err = errors.Join(fsys.SyncDir(dir), fsys.SyncDir(part))
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(part), fsys.SyncDir(dir))
}

// removeStrays deletes mail that is nobody's: its account was removed while the backup was made, which has the facts last.
func (s *Store) removeStrays() error {
	if err := s.indexer.settle(0); err != nil {
		return err
	}
	all, err := s.index.counts()
	if err != nil {
		return err
	}
	dir := s.accounts.directory()
	for drop := range all {
		if dir.byDrop[drop] != nil {
			continue
		}
		records, err := s.removals(drop)
		if err == nil {
			err = s.appendDeletions(records)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
