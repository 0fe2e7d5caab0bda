package seglog

import (
	"syscall"

	"example.org/letterbox/store/vfs"
)

type lateRename struct {
	vfs.OS
	on bool
}

func (l *lateRename) Rename(a, b string) error {
	if err := l.OS.Rename(a, b); err != nil {
		return err
	}
	if l.on {
		return syscall.EIO
	}
	return nil
}
