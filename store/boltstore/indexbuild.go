package boltstore

import (
	"errors"
	"io/fs"
	"path/filepath"

	"example.org/letterbox/store/vfs"
)

// unfinishedIndex is index.db while it is being built from the whole log. Nobody needs it before it has its name, so nothing of
// it is synced until then: it is begun anew by the next Open where this one does not come to its end.
const unfinishedIndex = indexFile + vfs.Unfinished

// buildIndex makes a new index in dir, which finish gives its name.
func buildIndex(fsys vfs.FS, dir string, storeID [16]byte) (*index, state, error) {
	name := filepath.Join(dir, unfinishedIndex)
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, state{}, err
	}
	ix, st, err := openIndex(name, storeID)
	if err == nil {
		ix.built, ix.db.NoSync, ix.db.NoGrowSync = name, true, true
	}
	return ix, st, err
}

// finish makes an index that was built durable: fdatasync of the file, rename, fsync of the folder. From then on each
// transaction is synced.
func (ix *index) finish(fsys vfs.FS, dir string) error {
	if ix.built == "" {
		return nil
	}
	if err := ix.db.Sync(); err != nil {
		return err
	}
	if err := fsys.Rename(ix.built, filepath.Join(dir, indexFile)); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	ix.built, ix.db.NoSync, ix.db.NoGrowSync = "", false, false
	return nil
}

// How many octets of the index are read before they are asked for: when it is opened, 400,000 messages', so that the first login finds
// them behind its hash; and before all of it is walked through.
const (
	warmFirst = 64 << 20
	warmAll   = 1 << 30
)

// warm has the system read the first octets of the index: bbolt tells it that it reads at random, so that each page of a cold file
// would be a wait of its own. It is the kernel's memory, which it takes back where it is short.
func (ix *index) warm(most int64) {
	info, err := ix.file.Stat()
	if err != nil {
		return // it is closed already
	}
	for off := int64(0); off < min(info.Size(), most); off += vfs.AheadStep {
		willNeed(ix.file, off, vfs.AheadStep)
	}
}
