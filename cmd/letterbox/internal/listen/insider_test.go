package listen

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// inside is a held that knows its own connections by their ports.
type inside struct {
	*held
	own chan net.Conn

	mu    sync.Mutex
	ports map[uint16]bool
	asked chan netip.AddrPort // nil, or told of each question, which then waits
	wait  chan struct{}
}

func (i *inside) IsOwn(peer netip.AddrPort) bool {
	if i.asked != nil {
		i.asked <- peer
		<-i.wait
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ports[peer.Port()]
}

func (i *inside) HandleOwn(c net.Conn) {
	defer c.Close()
	i.own <- c
}

func newInside() *inside {
	return &inside{held: newHeld(), own: make(chan net.Conn, 10), ports: map[uint16]bool{}}
}

// dialOwn connects from a port that the handler knows.
func (i *inside) dialOwn(t *testing.T, address string) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	from := l.Addr().(*net.TCPAddr)
	l.Close()
	i.mu.Lock()
	i.ports[uint16(from.Port)] = true
	i.mu.Unlock()
	c, err := (&net.Dialer{LocalAddr: from}).Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Our own connection is served where everybody else is told to come back, and takes no place of theirs.
func TestInsiderIsFreeOfLimits(t *testing.T) {
	h := newInside()
	defer close(h.release)
	lim := NewLimits(Bounds{Total: 1, RatePerMinute: 1})
	address := serve(t, h, lim)
	h.dialOwn(t, address)
	<-h.own
	if n := lim.Open(); n != 0 {
		t.Errorf("%d places were taken", n)
	}
	dial(t, address)
	<-h.handling
	dial(t, address)
	<-h.refused
	h.dialOwn(t, address)
	<-h.own
	if n := lim.Open(); n != 1 {
		t.Errorf("%d places are taken, want the one of the stranger", n)
	}
}

// Our own connection sends a PROXY header also where loopback is no trusted proxy, and nobody else there is heard.
func TestInsiderBehindProxy(t *testing.T) {
	h := newInside()
	defer close(h.release)
	proxy := NewProxy([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, time.Minute)
	address := serveProxy(t, h, nil, proxy)
	c := h.dialOwn(t, address)
	io.WriteString(c, v2(0x20, 0, "")+"EHLO")
	select {
	case behind := <-h.own:
		if behind.RemoteAddr().String() != c.LocalAddr().String() {
			t.Errorf("the peer is %v", behind.RemoteAddr())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it was not served")
	}
	stranger := dial(t, address)
	io.WriteString(stranger, v2(0x20, 0, ""))
	if _, err := stranger.Read(make([]byte, 1)); err == nil {
		t.Error("a stranger was answered")
	}
	bad := h.dialOwn(t, address)
	io.WriteString(bad, "EHLO without a header\r\n")
	if _, err := bad.Read(make([]byte, 1)); err == nil {
		t.Error("a connection without a header was answered")
	}
}

// A question that is not answered holds up neither Accept nor others, and beyond a bound nobody is asked.
func TestInsiderAsksBeside(t *testing.T) {
	h := newInside()
	h.asked, h.wait = make(chan netip.AddrPort, maxAsked), make(chan struct{})
	defer close(h.release)
	address := serve(t, h, nil)
	for range maxAsked {
		dial(t, address)
		<-h.asked
	}
	dial(t, address)
	<-h.handling // unasked
	close(h.wait)
	for range maxAsked {
		<-h.handling
	}
}
