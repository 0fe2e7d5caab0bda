package storesock

import (
	"errors"
	"net"
	"os"
)

// peer is the user at the other end of a unix socket, as the kernel tells.
type peer struct{ uid, gid uint32 }

var errNoPeer = errors.New("can't tell which user is at the other end")

// peerOf asks the kernel who connected. It fails for connections that are no unix sockets.
func peerOf(c net.Conn) (peer, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{}, errNoPeer
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var p peer
	var credErr error
	if err := raw.Control(func(fd uintptr) { p, credErr = credentials(int(fd)) }); err != nil {
		return peer{}, err
	}
	return p, credErr
}

// mayAdminister tells whether p is root, this process's user or in its group.
func mayAdminister(p peer) bool {
	return p.uid == 0 || int(p.uid) == os.Geteuid() || int(p.gid) == os.Getegid()
}
