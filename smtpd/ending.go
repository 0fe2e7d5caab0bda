package smtpd

import (
	"net"
	"time"
)

// ending says why a session is over, and what the client hears of it.
type ending struct {
	reason string // as Observer.SessionEnd has it
	reply  kind   // for the message under way, else for a last line of its own
	silent bool   // no last line: it has been said, or there is nobody to hear it
}

// overError is what reading returns once the session is over. It wraps net.ErrClosed: go-smtp then ends the connection
// without a word of its own, and takes no BDAT for complete.
type overError struct{ reason string }

func (e overError) Error() string { return "smtpd: the session is over: " + e.reason }
func (e overError) Unwrap() error { return net.ErrClosed }

// deadline returns until when the client may be silent, and what happens then.
func (g *guard) deadline() (time.Time, ending) {
	at, why := g.started.Add(g.rules.MaxAge), ending{reason: endSlow, reply: tooOld, silent: g.mode != inCommand}
	sooner := func(t time.Time, e ending) {
		if t.Before(at) {
			at, why = t, e
		}
	}
	switch g.mode {
	case inCommand:
		sooner(g.since.Add(g.rules.IdleTimeout), ending{reason: endIdle, reply: tooIdle})
	case inHandshake:
		sooner(g.since.Add(g.rules.HandshakeTimeout), ending{reason: endHandshake, silent: true})
	case inData:
		slow := ending{reason: endSlow, reply: tooSlow, silent: true}
		sooner(g.moved.Add(g.rules.DataTimeout), slow)
		sooner(g.since.Add(g.rules.DataGrace).Add(g.earned()), slow)
		if g.tap.verb == "DATA" && g.tap.dots.lost() {
			sooner(g.moved.Add(g.rules.LostEndTimeout), ending{reason: endProtocol, reply: lostEnding, silent: true})
		}
	}
	return at, why
}

// earned is the time for which the octets of this message last at the least rate.
func (g *guard) earned() time.Duration {
	return time.Duration(float64(g.octets) / float64(g.rules.LeastRate) * float64(time.Second))
}

// parting is why go-smtp closes, judged by its last reply.
func (t *tap) parting() string {
	switch t.code {
	case 221:
		return endQuit
	case 500: // after too many commands that it does not know
		return endErrors
	default:
		return endEOF
	}
}

// stop asks the session to end as soon as it has nothing under way.
func (g *guard) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wake()
	g.stopping = true
	if !g.closed {
		g.raw.SetReadDeadline(time.Unix(1, 0)) // wakes a reader, which then asks checkStop
	}
}

// wake ends a pause. The lock is held.
func (g *guard) wake() {
	select {
	case <-g.woken:
	default:
		close(g.woken)
	}
}

// kill ends the session whatever it does. A reader wakes and says why; what does not end by that is cut by cut.
func (g *guard) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wake()
	g.fail(ending{reason: endShutdown, reply: shuttingDown, silent: g.mode == inHandshake})
	if !g.closed {
		g.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut closes the connection.
func (g *guard) cut() { g.raw.Close() }

// endMessage says that no transaction is under way any more. One whose chunks have begun and whose transfer goes on can't
// be ended cleanly: the session ends too.
func (g *guard) endMessage(halfway bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if halfway && g.tap.open {
		g.fail(ending{reason: endProtocol, reply: outOfStep})
	}
	g.tap.endMessage()
	g.busy = false
}

// complete tells whether a message that seems to end after n octets is whole; if not, the session ends.
func (g *guard) complete(chunked bool, n int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.tap.complete(chunked, n) {
		g.fail(ending{reason: endEOF, reply: connectionLost, silent: true})
		return false
	}
	return true
}

// lost returns why a message can't be read any further; the session ends, so that nothing of it is run as commands. Where
// chunks ended while go-smtp does not wait for a command, another command has ended them. Reset comes for that too, but may
// come after the transfer is done.
func (g *guard) lost(chunked bool) kind {
	g.mu.Lock()
	defer g.mu.Unlock()
	if chunked && !g.tap.wantLine {
		g.fail(ending{reason: endProtocol, reply: outOfStep})
	}
	g.fail(ending{reason: endEOF, reply: connectionLost, silent: true})
	if g.ending.reply == noKind {
		return connectionLost
	}
	return g.ending.reply
}
