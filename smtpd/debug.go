package smtpd

import "time"

// debugWriter is go-smtp's Debug writer.
type debugWriter struct{ g *guard }

// Write is given what go-smtp read, or what it has written. Which of them it is depends on whether go-smtp writes a reply:
// it never reads before it has written that to the end.
func (d debugWriter) Write(p []byte) (int, error) {
	g := d.g
	defer g.rescue() // go-smtp reads commands where it catches no panic
	outgoing, ended, e := g.follow(p)
	if outgoing {
		if e == replied || e == lostChunk || e == startTLS {
			g.counted(g.lastReply())
		}
		return len(p), nil // an error here would lose the replies that are still to come
	}
	if ended && g.isOver() {
		return 0, g.readError() // and go-smtp never sees these octets
	}
	return len(p), nil
}

// follow shows p to the tap.
func (g *guard) follow(p []byte) (outgoing, ended bool, e event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	outgoing = g.tap.replying
	if outgoing {
		if e = g.tap.output(p); e != noEvent {
			g.took = time.Since(g.moved)
		}
	} else {
		e = g.tap.input(p)
	}
	if e == replied || e == lostChunk {
		g.budget.charge(g.tap.verb, g.tap.code)
	}
	g.handle(e)
	if g.tap.mode != g.mode {
		g.enter()
	}
	return outgoing, g.ending != nil, e
}

// lastReply returns the last command, its reply, and how long the client waited for that.
func (g *guard) lastReply() (verb string, code int, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tap.verb, g.tap.code, g.took
}

// handle acts on what the tap saw. The lock is held.
func (g *guard) handle(e event) {
	switch {
	case e == startTLS:
		g.sealed = true
	case e == foreign:
		g.fail(ending{reason: endProtocol, reply: notSMTP, silent: g.tap.head[0] == tlsRecord})
	case e == wideLine:
		g.fail(ending{reason: endProtocol, reply: longLine, silent: true})
	case e == badLine, e == lostChunk:
		g.fail(ending{reason: endProtocol, reply: outOfStep})
	case g.tap.wire > g.rules.wireBudget():
		g.fail(ending{reason: endProtocol, reply: tooLarge, silent: true})
	}
}
