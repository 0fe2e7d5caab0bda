package boltstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// willNeed tells the kernel to begin to read a part of a file. It is a hint and may fail.
func willNeed(f *os.File, off, octets int64) {
	_ = unix.Fadvise(int(f.Fd()), off, octets, unix.FADV_WILLNEED)
}
