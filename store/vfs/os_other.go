//go:build !linux

package vfs

import "math"

// Space implements FS. Where the system has no call that we know, space is taken as endless.
func (OS) Space(string) (free, size int64, err error) { return math.MaxInt64, math.MaxInt64, nil }

// Sync implements File.
func (f osFile) Sync() error { return f.File.Sync() }

// WriteVec implements File.
func (f osFile) WriteVec(bufs [][]byte, off int64) error {
	for _, b := range bufs {
		n, err := f.WriteAt(b, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
