package boltstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// willNeed tells the kernel to begin to read a part of a file, which may be closed at the same time. It is a hint and may fail.
func willNeed(f *os.File, off, octets int64) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, octets, unix.FADV_WILLNEED) })
}
