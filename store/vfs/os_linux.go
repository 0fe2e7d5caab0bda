package vfs

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func (f osFile) willNeed(off, octets int64) {
	_ = unix.Fadvise(int(f.Fd()), off, octets, unix.FADV_WILLNEED) // it may fail
}

func (f osFile) sequential(on bool) {
	advice := unix.FADV_RANDOM
	if on {
		advice = unix.FADV_SEQUENTIAL
	}
	_ = unix.Fadvise(int(f.Fd()), 0, 0, advice) // it may fail
}

func (f osFile) forget() {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // it may fail
}

// maxIovecs is the kernel's UIO_MAXIOV.
const maxIovecs = 1024

// Space implements FS.
func (OS) Space(name string) (free, size int64, err error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(name, &st) }); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	unit := int64(st.Bsize) //nolint:unconvert // the types differ between architectures
	return int64(st.Bavail) * unit, int64(st.Blocks) * unit, nil
}

// Sync implements File by fdatasync: it leaves out what is not needed to read the data again.
func (f osFile) Sync() error {
	err := retry(func() error { return unix.Fdatasync(int(f.Fd())) })
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// WriteVec implements File by pwritev.
func (f osFile) WriteVec(bufs [][]byte, off int64) error {
	rest := make([][]byte, 0, min(len(bufs), maxIovecs))
	for len(bufs) > 0 || len(rest) > 0 {
		for len(rest) < maxIovecs && len(bufs) > 0 {
			if len(bufs[0]) > 0 {
				rest = append(rest, bufs[0])
			}
			bufs = bufs[1:]
		}
		if len(rest) == 0 {
			return nil
		}
		n, err := f.pwritev(rest, off)
		if err != nil {
			return &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
		}
		off += int64(n)
		rest = consume(rest, n)
	}
	return nil
}

func (f osFile) pwritev(bufs [][]byte, off int64) (n int, err error) {
	err = retry(func() error {
		n, err = unix.Pwritev(int(f.Fd()), bufs, off)
		return err
	})
	if err == nil && n == 0 {
		err = io.ErrShortWrite
	}
	return n, err
}

// consume takes the first n octets off bufs, in place.
func consume(bufs [][]byte, n int) [][]byte {
	done := 0
	for done < len(bufs) && n >= len(bufs[done]) {
		n -= len(bufs[done])
		done++
	}
	if done < len(bufs) {
		bufs[done] = bufs[done][n:]
	}
	return append(bufs[:0], bufs[done:]...)
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
