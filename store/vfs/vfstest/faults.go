// Package vfstest holds the file systems that tests put in place of the real one: Faults fails calls, Recorder keeps what
// was done so that a loss of power can be played at any moment of it.
package vfstest

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"example.org/letterbox/store/vfs"
)

// Call names one kind of call that can fail.
type Call string

// The calls.
const (
	Open     Call = "open"
	Mkdir    Call = "mkdir"
	Rename   Call = "rename"
	Remove   Call = "remove"
	ReadDir  Call = "readdir"
	SyncDir  Call = "syncdir"
	Write    Call = "write"
	Truncate Call = "truncate"
	Sync     Call = "sync"
	Read     Call = "read"
)

// Faults passes every call to the operating system, unless Fail says that it fails.
type Faults struct {
	vfs.OS

	mu   sync.Mutex
	fail func(call Call, name string) error
	full int64 // octets that may still be written; negative: no bound
}

// NewFaults returns a file system that works.
func NewFaults() *Faults { return &Faults{full: -1} }

// Fail sets what decides over each call from now on; nil lets all succeed. A write that fails first writes half of its
// octets, and a sync that fails forgets what was written since the last one: that is what a disk does.
func (f *Faults) Fail(decide func(call Call, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = decide
}

// Fill lets n more octets be written, and then every write fails with ENOSPC. A negative n lifts that.
func (f *Faults) Fill(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = n
}

// Once returns a decision that lets the n-th call of a kind fail with err, counted from 0, and all others succeed.
func Once(call Call, n int, err error) func(Call, string) error {
	var mu sync.Mutex
	return func(c Call, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if c != call {
			return nil
		}
		if n--; n == -1 {
			return err
		}
		return nil
	}
}

// Ever returns a decision that lets all calls of a kind fail from the n-th on.
func Ever(call Call, n int, err error) func(Call, string) error {
	var mu sync.Mutex
	return func(c Call, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if c != call {
			return nil
		}
		if n > 0 {
			n--
			return nil
		}
		return err
	}
}

func (f *Faults) decide(call Call, name string) error {
	f.mu.Lock()
	decide := f.fail
	f.mu.Unlock()
	if decide == nil {
		return nil
	}
	if err := decide(call, name); err != nil {
		return &fs.PathError{Op: string(call), Path: name, Err: err}
	}
	return nil
}

// take reserves n octets of the space that is left.
func (f *Faults) take(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full < 0 {
		return nil
	}
	if f.full < n {
		return syscall.ENOSPC
	}
	f.full -= n
	return nil
}

// OpenFile implements vfs.FS.
func (f *Faults) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := f.decide(Open, name); err != nil {
		return nil, err
	}
	file, err := f.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, name: name}, nil
}

// Mkdir implements vfs.FS.
func (f *Faults) Mkdir(name string, perm fs.FileMode) error {
	return errors.Join(f.decide(Mkdir, name), f.OS.Mkdir(name, perm))
}

// Rename implements vfs.FS.
func (f *Faults) Rename(oldname, newname string) error {
	if err := f.decide(Rename, newname); err != nil {
		return err
	}
	return f.OS.Rename(oldname, newname)
}

// Remove implements vfs.FS.
func (f *Faults) Remove(name string) error {
	if err := f.decide(Remove, name); err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err == nil {
		f.give(info.Size())
	}
	return f.OS.Remove(name)
}

// give returns space.
func (f *Faults) give(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full >= 0 {
		f.full += n
	}
}

// ReadDir implements vfs.FS.
func (f *Faults) ReadDir(name string) ([]os.DirEntry, error) {
	if err := f.decide(ReadDir, name); err != nil {
		return nil, err
	}
	return f.OS.ReadDir(name)
}

// SyncDir implements vfs.FS.
func (f *Faults) SyncDir(name string) error {
	if err := f.decide(SyncDir, name); err != nil {
		return err
	}
	return f.OS.SyncDir(name)
}

// Space implements vfs.FS.
func (f *Faults) Space(name string) (free, size int64, err error) {
	free, size, err = f.OS.Space(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full >= 0 {
		free = f.full
	}
	return free, size, err
}

// faultyFile remembers what a failed sync loses.
type faultyFile struct {
	vfs.File
	fs   *Faults
	name string

	mu   sync.Mutex
	undo []before // since the last sync, in order
}

// before is what a write replaced.
type before struct {
	off  int64
	data []byte
	size int64 // of the file
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.decide(Read, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) WriteVec(bufs [][]byte, off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []byte
	for _, b := range bufs {
		all = append(all, b...)
	}
	err := f.fs.decide(Write, f.name)
	if err == nil {
		err = f.fs.take(int64(len(all)))
	}
	if err != nil {
		all = all[:len(all)/2]
	}
	size, sizeErr := f.Size()
	if sizeErr != nil {
		return sizeErr
	}
	old := make([]byte, max(0, min(int64(len(all)), size-off)))
	f.File.ReadAt(old, off) //nolint:errcheck // what can't be read can't be put back
	f.undo = append(f.undo, before{off, old, size})
	return errors.Join(err, f.File.WriteVec([][]byte{all}, off))
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.fs.decide(Truncate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Sync loses everything since the last one when it fails: the pages are marked clean although they never reached the disk,
// and are read anew.
func (f *faultyFile) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fs.decide(Sync, f.name); err != nil {
		for i := len(f.undo) - 1; i >= 0; i-- {
			u := f.undo[i]
			f.File.WriteVec([][]byte{u.data}, u.off) //nolint:errcheck // a test's disk
			f.File.Truncate(u.size)                  //nolint:errcheck // as above
		}
		f.undo = nil
		return err
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.undo = nil
	return nil
}
