package smtpd

import (
	"io"
	"net"
	"time"
)

// lingerOctets is what is read from a client that does not listen, after the last reply.
const lingerOctets = 64 << 10

// linger closes the connection, after Close. What the client still sends is read for a while: closing over unread octets
// makes TCP send a reset, and that takes our last reply from the client (RFC 9293 section 3.6.1).
func (g *guard) linger() {
	g.mu.Lock()
	gone := g.ending.reason == endEOF || g.ending.reason == endError
	lingers := g.lingers && !gone
	g.mu.Unlock()
	if lingers {
		drain(g.raw, g.rules.LingerTimeout)
	}
	g.raw.Close()
}

// closeWrite tells the peer that nothing more comes, where the connection can.
func closeWrite(c net.Conn) bool {
	half, ok := c.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}

func drain(c net.Conn, patience time.Duration) {
	c.SetReadDeadline(time.Now().Add(patience))
	io.CopyN(io.Discard, c, lingerOctets)
}
