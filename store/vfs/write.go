package vfs

import (
	"os"
	"path/filepath"
)

// Unfinished ends the names of files that are being written. A crash may leave one behind; it never counts.
const Unfinished = ".new"

// WriteFile makes a file durable under its name, whole or not at all: written under another name, synced, renamed, and the
// folder synced. After an error the old file stands, or the new one, and which of them is durable is not known.
func WriteFile(fsys FS, name string, content []byte) error {
	f, err := fsys.OpenFile(name+Unfinished, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = f.WriteVec([][]byte{content}, 0)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = fsys.Rename(name+Unfinished, name)
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(name))
	}
	return err
}
