package vfs

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// syncQueue lets a thread of the kernel do the fdatasync (io_submit(2), since Linux 4.18), whose end an eventfd tells: that is
// waited for as for a socket. A nil syncQueue does nothing.
//
// Of the interfaces that can do this it is the one that containers are let to use; io_uring mostly is forbidden.
type syncQueue struct {
	context uintptr  // aio_context_t
	ended   *os.File // the eventfd
	fd      uint32   // of ended
	block   controlBlock
	event   ioEvent
}

// controlBlock is struct iocb of linux/aio_abi.h. Key and flags change places on big-endian machines; both are zero.
type controlBlock struct {
	_       uint64 // data
	_       uint32 // key
	_       uint32 // flags of a read or write
	opcode  uint16
	_       int16 // priority
	fd      uint32
	_       uint64 // buffer
	_       uint64 // its octets
	_       int64  // offset
	_       uint64
	flags   uint32
	eventfd uint32
}

// ioEvent is struct io_event of linux/aio_abi.h.
type ioEvent struct {
	data, block     uint64
	result, result2 int64
}

const (
	opFdatasync   = 3 // IOCB_CMD_FDSYNC
	flagToEventfd = 1 // IOCB_FLAG_RESFD
)

// newSyncQueue returns nil where the kernel or a sandbox does not let us have one, also where it would not let us ask for an
// end: a sync that was begun and can't be seen to its end would be one that failed.
func newSyncQueue() *syncQueue {
	q := &syncQueue{}
	if _, _, e := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&q.context)), 0); e != 0 {
		return nil
	}
	if _, e := q.ends(0); e != 0 {
		q.close()
		return nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		q.close()
		return nil
	}
	q.ended, q.fd = os.NewFile(uintptr(fd), "eventfd"), uint32(fd)
	return q
}

// sync returns begun false when the kernel took nothing, and then has not looked at the file: an error is none of the disk.
func (q *syncQueue) sync(f osFile) (begun bool, err error) {
	if q == nil {
		return false, nil
	}
	q.block = controlBlock{opcode: opFdatasync, fd: uint32(f.Fd()), flags: flagToEventfd, eventfd: q.fd}
	blocks := [1]*controlBlock{&q.block} // q is on the heap, which stays where it is
	if n, _, e := unix.Syscall(unix.SYS_IO_SUBMIT, q.context, 1, uintptr(unsafe.Pointer(&blocks))); e != 0 || n != 1 {
		return false, nil
	}
	if err := q.wait(); err != nil {
		return true, &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return true, nil
}

// wait returns the result of what was begun, and not before it is there. Where the eventfd can't be read, this thread waits.
func (q *syncQueue) wait() error {
	var count [8]byte
	var unreadable error
	for unreadable == nil && binary.NativeEndian.Uint64(count[:]) == 0 {
		_, unreadable = q.ended.Read(count[:])
	}
	err := retry(func() error {
		switch n, e := q.ends(1); {
		case e != 0:
			return e
		case n != 1:
			return unix.EIO
		}
		return nil
	})
	if err == nil && q.event.result < 0 {
		err = unix.Errno(-q.event.result)
	}
	return err
}

// ends waits until so many ends are there, at most one, and takes one.
func (q *syncQueue) ends(least uintptr) (n uintptr, e unix.Errno) {
	n, _, e = unix.Syscall6(unix.SYS_IO_GETEVENTS, q.context, least, 1, uintptr(unsafe.Pointer(&q.event)), 0, 0)
	return n, e
}

func (q *syncQueue) close() {
	if q == nil {
		return
	}
	unix.Syscall(unix.SYS_IO_DESTROY, q.context, 0, 0) //nolint:errcheck // nothing is under way
	if q.ended != nil {
		q.ended.Close() //nolint:errcheck // it holds nothing
	}
}
