package pop3d

import (
	"net"
	"syscall"
)

// beginLast says that what is written next is the last of this connection: its end may travel in one packet with the end of our
// direction, which follows. Where that can't be it is two packets.
func (g *guard) beginLast() {
	tcp, ok := g.Conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) })
}
