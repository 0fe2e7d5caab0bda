package pop3d

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// segments is how many packets a client was sent so far.
func segments(t *testing.T, conn net.Conn) (n uint32) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var wrong error
	if err := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, wrong = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); wrong == nil {
			n = info.Segs_in
		}
	}); err != nil || wrong != nil {
		t.Fatal(err, wrong)
	}
	return n
}

// TestFarewellIsOnePacket: the reply to QUIT and the end of the connection travel together, at most with an acknowledgement of QUIT in
// front of them. On a busy machine there may be another packet, so one session of many is enough.
func TestFarewellIsOnePacket(t *testing.T) {
	b := serve(t, newReal(t))
	var came uint32
	for range 20 {
		c := b.dial()
		c.want("+OK*")
		before := segments(t, c.conn)
		c.send("QUIT\r\n")
		if rest, err := io.ReadAll(c.r); err != nil || string(rest) != "+OK mail.example.org POP3 server signing off\r\n" {
			t.Fatalf("%q, %v", rest, err)
		}
		if came = segments(t, c.conn) - before; came <= 2 {
			return
		}
	}
	t.Errorf("%d packets", came)
}
