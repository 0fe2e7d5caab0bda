package smtpd

import (
	"errors"
	"os"
	"time"
)

// heldReplies is how many octets of replies wait for each other at most.
const heldReplies = 4 << 10

// Write takes all of p. Replies to commands that came together go out together (RFC 2920 section 3.2): at the latest when
// the client is to be heard again, since only then may it be waiting for one.
func (g *guard) Write(p []byte) (int, error) {
	if err := g.mayWrite(p); err != nil {
		return 0, err
	}
	g.sending.Lock()
	defer g.sending.Unlock()
	if len(g.unsent)+len(p) > heldReplies {
		if err := g.sendHeld(); err != nil {
			return 0, err
		}
	}
	if len(p) > heldReplies {
		return len(p), g.send(p)
	}
	g.unsent = append(g.unsent, p...)
	return len(p), nil
}

// flush sends what waits. An error is sticky.
func (g *guard) flush() {
	g.sending.Lock()
	defer g.sending.Unlock()
	g.sendHeld()
}

func (g *guard) sendHeld() error {
	if len(g.unsent) == 0 {
		return nil
	}
	err := g.send(g.unsent)
	g.unsent = g.unsent[:0]
	return err
}

// send sends all of p. A client that takes nothing for long ends the session, one that takes a little does not.
func (g *guard) send(p []byte) error {
	done := 0
	for {
		g.raw.SetWriteDeadline(time.Now().Add(g.rules.WriteTimeout))
		n, err := g.raw.Write(p[done:])
		done += n
		if err == nil || (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return g.afterWrite(done, err)
		}
	}
}

func (g *guard) mayWrite(p []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.muted {
		return overError{reason: endError}
	}
	// After a failed handshake go-smtp goes on in clear. The types of TLS records are 20 to 23 (RFC 8446 section 5.1), and
	// TLS writes whole records.
	if g.sealed && len(p) > 0 && (p[0] < 20 || p[0] > 23) {
		g.fail(ending{reason: endHandshake, silent: true})
		return overError{reason: endHandshake}
	}
	return nil
}

func (g *guard) afterWrite(n int, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out += int64(n)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		g.fail(ending{reason: endSlow, reply: tooSlow, silent: true})
	default:
		g.fail(ending{reason: endError, reply: connectionLost, silent: true})
	}
	return err
}
