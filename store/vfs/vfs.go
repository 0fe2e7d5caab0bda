// Package vfs is the seam between the store and the file system: the few calls whose order and failure decide whether mail
// is durable. OS makes them for real; tests put another implementation in its place that fails them, fills up or loses
// power.
package vfs

import (
	"io"
	"io/fs"
)

// FS is a file system. Names are paths as the operating system takes them.
type FS interface {
	// OpenFile opens a file as os.OpenFile does. Creating one is durable only after SyncDir of its folder.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Mkdir makes one folder and is content when it is there.
	Mkdir(name string, perm fs.FileMode) error
	// Rename replaces newname; durable only after SyncDir.
	Rename(oldname, newname string) error
	// Remove unlinks a file; readers that hold it open go on. Durable only after SyncDir.
	Remove(name string) error
	// ReadDir lists a folder, ordered by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes a folder's entries durable.
	SyncDir(name string) error
	// Space returns the octets that an ordinary user may still write to the file system that holds name, and its size.
	Space(name string) (free, size int64, err error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.Closer
	// WriteVec writes all buffers at off, one behind the other. On error any part of them may have been written.
	WriteVec(bufs [][]byte, off int64) error
	// Truncate sets the size.
	Truncate(size int64) error
	// Sync returns nil only when all data that was written, and the size needed to read it again, are on stable
	// storage. After an error nothing is known of what was written since the last Sync, and calling it again is no cure.
	Sync() error
	// Size returns the file's size in octets.
	Size() (int64, error)
}

// AheadStep is how much the kernel reads of a file at once when WillNeed tells it to: more in one call is not heeded.
const AheadStep = 1 << 20

// WillNeed tells the system to begin to read a part of a file, so that who reads it in order does not wait for each piece. It
// is a hint: other systems than Linux, and other implementations than OS, are not given it.
func WillNeed(f File, off, octets int64) {
	if h, ok := f.(interface{ willNeed(off, octets int64) }); ok {
		h.willNeed(off, octets)
	}
}

// Sequential tells the system that a file will be read in order through this descriptor, so that it reads further ahead of
// who does; without on, that nothing is to be read ahead. It is a hint, as WillNeed is, and costs less than telling it piece
// by piece: verifying a log whose pages were cold took half of the system's time per octet with it.
func Sequential(f File, on bool) {
	if h, ok := f.(interface{ sequential(on bool) }); ok {
		h.sequential(on)
	}
}

// Forget tells the system that nobody will read soon what was written to a file and synced, so that its memory is used for what is written
// next. It is a hint, as WillNeed is.
func Forget(f File) {
	if h, ok := f.(interface{ forget() }); ok {
		h.forget()
	}
}
