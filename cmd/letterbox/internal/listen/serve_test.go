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
	return &held{handling: make(chan net.Conn, 100), release: make(chan struct{}), refused: make(chan net.Conn, 100),
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

// serve runs Serve on a loopback port until the end of the test.
func serve(t *testing.T, h Handler, lim *Limits) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Serve(l, h, lim) }()
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
	lim := NewLimits(2, 0, nil)
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
	address := serve(t, h, NewLimits(1, 0, nil))
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
		if err := Serve(l, h, nil); err != nil {
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
	if err := Serve(&flaky{errs: []error{syscall.EINVAL}}, newHeld(), nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v", err)
	}
}

func TestLimits(t *testing.T) {
	addr := netip.MustParseAddr
	lim := NewLimits(6, 2, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")})
	var releases []func()
	admit := func(peer netip.Addr, want bool) {
		t.Helper()
		release, ok := lim.admit(peer)
		if ok != want {
			t.Errorf("%s: admitted %v", peer, ok)
		}
		if ok {
			releases = append(releases, release)
		}
	}
	admit(addr("192.0.2.1"), true)
	admit(addr("::ffff:192.0.2.1"), true) // the same, seen by a listener for both
	admit(addr("192.0.2.1"), false)
	admit(addr("192.0.2.2"), true)
	admit(addr("2001:db8::1"), true)
	admit(addr("2001:db8::ffff:1"), true) // the same /64
	admit(addr("2001:db8::2"), false)
	admit(addr("2001:db8:0:1::1"), true)
	admit(addr("203.0.113.9"), false) // in all
	for _, release := range releases {
		release()
	}
	if lim.Open() != 0 || len(lim.byPeer) != 0 {
		t.Errorf("%d open, %v", lim.Open(), lim.byPeer)
	}
	releases = nil
	for range 3 {
		admit(addr("10.1.2.3"), true)
		admit(addr("fe80::1%eth0"), true)
	}
	admit(netip.Addr{}, false) // exempt ones count in all
	lim.Set(0, 1, nil)
	for range 3 {
		admit(netip.Addr{}, true) // a unix socket has no address to be counted by
	}
	admit(addr("10.1.2.3"), false)
	for _, release := range releases {
		release()
	}
	if lim.Open() != 0 || len(lim.byPeer) != 0 {
		t.Errorf("%d open, %v", lim.Open(), lim.byPeer)
	}
}
