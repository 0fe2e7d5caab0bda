package smtpd

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestLinger closes while the client still sends: what is under way is read, so that no reset follows the last reply.
func TestLinger(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	b := newBench(t, Policy{LingerTimeout: 10 * time.Second}, Listener{Name: "test"})
	b.addr = ln.Addr().String()
	c := b.dial()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	counting := &countingConn{TCPConn: accepted.(*net.TCPConn)}
	done := make(chan struct{})
	go func() {
		b.server.Handle(counting, Listener{Name: "test"})
		close(done)
	}()
	c.want("220 ")
	c.do("QUIT", "221 ")
	c.want("(closed)")
	late := strings.Repeat("NOOP\r\n", 2000)
	c.send(late)
	c.conn.(*net.TCPConn).CloseWrite()
	<-done
	if want := len("QUIT\r\n") + len(late); counting.read != want {
		t.Errorf("read %d octets, want %d", counting.read, want)
	}
}

type countingConn struct {
	*net.TCPConn
	read int
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.read += n
	return n, err
}

// WriteTo is not to be used by io.Copy: it would pass Read by.
func (c *countingConn) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}
