package storesock

import (
	"net"

	"golang.org/x/sys/unix"
)

// unread returns what the other side of a unix socket has not read yet, in octets of the kernel's memory, and 0 where that can't be
// told.
func unread(c net.Conn) (octets int) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { octets, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) // on a closed one nothing is written either
	return octets
}
