package pop3d

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	// A close behind a reply lingers: an unread octet from the client turns the close into a reset, and a reset takes
	// back a reply that the client has not read yet.
	lingerTime   = 2 * time.Second
	lingerOctets = 64 << 10

	// writeProbes is how often within WriteTimeout a blocked write is tried again, at the least. The kernel wakes a writer
	// only when a third of the socket's buffer is free, which a slow client may need longer for than any timeout; a write
	// that is tried takes whatever room there is. At each probe the store hears that the session is at work, and no login
	// may take its maildrop: so they are not far apart, whatever WriteTimeout is.
	writeProbes   = 10
	probeInterval = 5 * time.Second
)

// guard is the connection below TLS. It owns the deadlines, so that a slow client and a stuck one can be told apart, and
// the way in which a connection ends.
type guard struct {
	net.Conn
	// patience is how long a write may go on without an octet taken. Only the session's goroutine touches it.
	patience time.Duration
	// busy, unless nil, is called again and again while a write goes on, and at its end; it must return at once. As patience.
	busy func()

	mu        sync.Mutex
	woken     bool // reads end at once
	lingering bool // the last reply is out; nothing to wake
}

// Write writes all of p, however long that takes, as long as the peer takes an octet now and then.
func (g *guard) Write(p []byte) (int, error) {
	done := 0
	_, err := g.persist(func() (int64, error) {
		n, err := g.Conn.Write(p[done:])
		done += n
		return int64(n), err
	})
	return done, err
}

// writesVectors tells whether writeVector takes one call to the system.
func (g *guard) writesVectors() bool {
	switch g.Conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// writeVector is Write for pieces that lie apart.
func (g *guard) writeVector(pieces net.Buffers) (int64, error) {
	return g.persist(func() (int64, error) { return pieces.WriteTo(g.Conn) })
}

// persist calls write, which goes on where it stopped, until nothing is left.
func (g *guard) persist(write func() (int64, error)) (done int64, err error) {
	for moved := time.Now(); ; {
		if err := g.SetWriteDeadline(time.Now().Add(min(g.patience/writeProbes, probeInterval))); err != nil {
			return done, err
		}
		n, err := write()
		done += n
		if g.busy != nil {
			g.busy() // also where the client takes each write in time: a long reply is many of them
		}
		if err == nil {
			return done, nil
		}
		if n > 0 {
			moved = time.Now()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(moved) >= g.patience {
			return done, err
		}
	}
}

// readUntil sets when a read gives up.
func (g *guard) readUntil(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.woken {
		t = time.Unix(1, 0)
	}
	return g.SetReadDeadline(t)
}

// wake ends the read that waits, and every later one.
func (g *guard) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.woken = true
	if !g.lingering {
		_ = g.SetReadDeadline(time.Unix(1, 0)) // fails on a closed connection alone
	}
}

// isWoken tells whether wake was called.
func (g *guard) isWoken() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.woken
}

// hurry bounds whatever is still written: the session is over.
func (g *guard) hurry() { g.patience = lingerTime }

// linger ends our side of the connection and waits, bounded, until the peer has ended its own.
func (g *guard) linger() {
	g.mu.Lock()
	g.lingering = true
	err := g.SetReadDeadline(time.Now().Add(lingerTime))
	g.mu.Unlock()
	if err != nil || !closeWrite(g.Conn) {
		return
	}
	_, _ = io.CopyN(io.Discard, g.Conn, lingerOctets) // however it ends, the connection is closed next
}

// closeWrite ends the sending direction of c, or of the connection that c wraps.
func closeWrite(c net.Conn) bool {
	for c != nil {
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			return half.CloseWrite() == nil
		}
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return false
		}
		c = wrapper.NetConn()
	}
	return false
}

// address returns the IP address of a, invalid for a unix socket.
func address(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	case nil, *net.UnixAddr:
		return netip.Addr{}
	}
	if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		return ap.Addr().Unmap()
	}
	return netip.Addr{}
}

// staysHere tells whether what c carries does not leave this machine.
func staysHere(c net.Conn) bool {
	if _, ok := c.LocalAddr().(*net.UnixAddr); ok {
		return true
	}
	return address(c.RemoteAddr()).IsLoopback() && address(c.LocalAddr()).IsLoopback()
}
