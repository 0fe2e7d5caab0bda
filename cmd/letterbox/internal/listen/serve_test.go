package listen

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// held is a Handler whose connections stay until they are let go.
type held struct {
	handling chan net.Conn
	release  chan struct{}
	refused  chan net.Conn
	failed   chan error
}

func newHeld() *held {
	return &held{handling: make(chan net.Conn, 1000), release: make(chan struct{}), refused: make(chan net.Conn, 100),
		failed: make(chan error, 100)}
}

func (h *held) Handle(c net.Conn) {
	defer c.Close()
	h.handling <- c
	<-h.release
}

func (h *held) Busy(c net.Conn) {
	defer c.Close()
	h.refused <- c
	io.WriteString(c, "busy\r\n")
	<-h.release
}

func (h *held) AcceptFailed(err error) { h.failed <- err }

// serve is serveProxy where connections begin with no header.
func serve(t *testing.T, h Handler, lim *Limits) (address string) {
	t.Helper()
	return serveProxy(t, h, lim, nil)
}

// serveProxy runs Serve on a loopback port until the end of the test.
func serveProxy(t *testing.T, h Handler, lim *Limits, proxy *Proxy) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Serve(l, h, lim, proxy) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second)) // a test that hangs fails
	return c
}

// Connections beyond the limit are told so while those that were admitted are untouched.
func TestServeBusy(t *testing.T) {
	h := newHeld()
	defer close(h.release)
	lim := NewLimits(Bounds{Total: 2})
	address := serve(t, h, lim)
	dial(t, address)
	dial(t, address)
	<-h.handling
	<-h.handling
	third := dial(t, address)
	<-h.refused
	line := make([]byte, 6)
	if _, err := io.ReadFull(third, line); err != nil || string(line) != "busy\r\n" {
		t.Errorf("%q, %v", line, err)
	}
	h.release <- struct{}{}
	h.release <- struct{}{}
	h.release <- struct{}{} // all three are over
	for lim.Open() > 0 {
		time.Sleep(time.Millisecond) // the count follows the return of Handle
	}
	dial(t, address)
	<-h.handling
}

// Busy lines that nobody reads hold up neither Accept nor more than their bound.
func TestServeBusyIsBounded(t *testing.T) {
	h := newHeld()
	defer close(h.release)
	address := serve(t, h, NewLimits(Bounds{Total: 1}))
	dial(t, address)
	<-h.handling
	for range maxBusy {
		dial(t, address)
		<-h.refused
	}
	if _, err := io.ReadAll(dial(t, address)); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection beyond the bound is not closed: %v", err)
	}
	if len(h.refused) != 0 {
		t.Error("one more busy line was said")
	}
}

func TestServeWithoutLimits(t *testing.T) {
	h := newHeld()
	defer close(h.release)
	address := serve(t, h, nil)
	for range 50 {
		dial(t, address)
	}
	for range 50 {
		<-h.handling
	}
}

// flaky is a listener whose Accept returns these errors and then net.ErrClosed.
type flaky struct {
	net.Listener
	errs []error
}

func (f *flaky) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return nil, &net.OpError{Op: "accept", Err: net.ErrClosed}
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: err}
}

// Too many open files passes: Accept is tried again after pauses that grow to a second, and one spell is told once.
func TestServeSurvivesEMFILE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		l := &flaky{}
		for range 20 {
			l.errs = append(l.errs, syscall.EMFILE)
		}
		begin := time.Now()
		if err := Serve(l, h, nil, nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("20 errors took %s", took)
		}
		if len(h.failed) != 1 {
			t.Errorf("told %d times", len(h.failed))
		}
	})
}

// A listener that is no good ends Serve with the reason.
func TestServeReturnsLastingErrors(t *testing.T) {
	if err := Serve(&flaky{errs: []error{syscall.EINVAL}}, newHeld(), nil, nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v", err)
	}
}

// bridged is a listener whose connections all come from one address.
type bridged struct {
	net.Listener
	left int
	peer net.Addr
}

func (b *bridged) Accept() (net.Conn, error) {
	if b.left == 0 {
		return nil, net.ErrClosed
	}
	b.left--
	c, _ := net.Pipe()
	return bridgedConn{c, b.peer}, nil
}

type bridgedConn struct {
	net.Conn
	peer net.Addr
}

func (c bridgedConn) RemoteAddr() net.Addr { return c.peer }

// curious is a Handler that wants to know when its connections come from one address.
type curious struct {
	*held
	told []netip.Addr
}

func (c *curious) MostlyFrom(peer netip.Addr) { c.told = append(c.told, peer) }

func TestServeTellsOfOneAddress(t *testing.T) {
	c := &curious{held: newHeld()}
	close(c.release)
	peer := &net.TCPAddr{IP: net.IPv4(172, 17, 0, 1), Port: 1}
	if err := Serve(&bridged{left: 3 * crowdSample, peer: peer}, c, nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(c.told) != 1 || c.told[0] != netip.MustParseAddr("172.17.0.1") {
		t.Errorf("told %v", c.told)
	}
}
