package smtpd

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// guard is the connection as go-smtp, or TLS, sees it. Deadlines that go-smtp sets are not set: the guard sets its own. It
// takes them as the signals that they are: before each command line go-smtp sets a read deadline, and before each reply
// a write deadline, once.
//
// The guard's end is sticky. After an error inside a body go-smtp would go on and run the rest of it as commands.
type guard struct {
	raw   net.Conn
	sid   string
	rules *rules
	over  chan struct{} // closed by Close
	woken chan struct{} // closed by stop and kill

	// The session's part, called by go-smtp's goroutine and without the lock.
	farewell func(kind)                                      // says one last line on the outermost connection
	secured  func()                                          // a TLS handshake succeeded
	counted  func(verb string, code int, took time.Duration) // one reply to a command
	rescue   func()                                          // deferred: makes a panic the end of this session

	sending sync.Mutex // over LMTP go-smtp writes replies while it reads; taken before mu
	unsent  []byte     // replies that wait, at most heldReplies
	left    []byte     // read behind a content, for the next Read; by the reading goroutine only

	mu       sync.Mutex
	tap      tap
	budget   budget
	mode     mode          // the tap's, when since was set
	since    time.Time     // when this mode, or this command line, began
	moved    time.Time     // when the client last sent something in it
	took     time.Duration // from then to the last reply
	octets   int64         // read in it
	started  time.Time
	sealed   bool // nothing but TLS records leaves any more
	taken    bool // a content was read to its end, by content
	busy     bool // a transaction is under way
	stopping bool
	ending   *ending
	muted    bool // the last line was said
	closed   bool
	lingers  bool // the client has been told that nothing more comes
	in, out  int64
}

func newGuard(raw net.Conn, sid string, r *rules) *guard {
	now := time.Now()
	return &guard{raw: raw, sid: sid, rules: r, over: make(chan struct{}), woken: make(chan struct{}), started: now, since: now, moved: now}
}

// Read returns what the client sent, or the error that ends the session; and errTaken where content has read it.
func (g *guard) Read(p []byte) (int, error) {
	if g.passContent() {
		return 0, errTaken
	}
	if len(g.left) > 0 && !g.beforeRead() {
		return g.takeLeft(p), nil
	}
	return g.receive(p)
}

// receive reads from the connection.
func (g *guard) receive(p []byte) (int, error) {
	for len(p) > 0 {
		g.flush()
		if g.beforeRead() {
			return 0, g.readError()
		}
		n, err := g.raw.Read(p)
		g.afterRead(n, err)
		if n > 0 {
			return n, nil // an error that came with octets comes again
		}
	}
	return 0, nil
}

// beforeRead sets the deadline, or tells that the session is over.
func (g *guard) beforeRead() bool {
	g.mu.Lock()
	g.checkStop()
	if at, why := g.deadline(); g.ending == nil {
		if time.Now().Before(at) {
			g.raw.SetReadDeadline(at)
		} else {
			g.fail(why)
		}
	}
	g.mu.Unlock()
	return g.isOver()
}

// readError is what reading returns from the end of the session on. Inside a chunk of BDAT go-smtp makes a reply of it, and
// sends any error but its own as permanent and with its text.
func (g *guard) readError() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mode == inData {
		return smtpError(refuse(g.ending.reply), g.sid)
	}
	return overError{reason: g.ending.reason}
}

// afterRead counts. A deadline that has passed may be one that stop has set: beforeRead finds out.
func (g *guard) afterRead(n int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in += int64(n)
	g.octets += int64(n)
	switch {
	case n > 0:
		g.moved = time.Now()
	case errors.Is(err, io.EOF):
		g.fail(ending{reason: endEOF, reply: connectionLost, silent: true})
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		g.fail(ending{reason: endError, reply: connectionLost, silent: true})
	}
}

// SetReadDeadline is go-smtp about to read a command line. It fails when none may be read any more.
func (g *guard) SetReadDeadline(time.Time) error {
	defer g.rescue()
	if g.nextLine() {
		g.secured()
	}
	if g.isOver() {
		return overError{reason: g.reason()}
	}
	return nil
}

// nextLine lets the tap go on to the next command line, and tells whether a TLS handshake has come before it.
func (g *guard) nextLine() (secured bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checkStop()
	g.checkBudget()
	if g.ending != nil {
		return false
	}
	secured = g.mode == inHandshake
	g.taken = false
	g.handle(g.tap.expectLine())
	g.enter()
	return secured
}

// expectTLS says that the connection begins with a handshake.
func (g *guard) expectTLS() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sealed = true
	g.tap.mode = inHandshake
	g.enter()
}

// SetWriteDeadline is go-smtp about to write a reply.
func (g *guard) SetWriteDeadline(time.Time) error {
	g.mu.Lock()
	g.tap.replying = true
	// What becomes of a message is said at once: a sender that hangs up before would send it again.
	late := g.budget.pause && g.mode == inCommand && g.ending == nil && !g.stopping
	g.budget.pause = false
	g.mu.Unlock()
	g.pause(late)
	return nil
}

// SetDeadline does nothing: nobody calls it, and deadlines are the guard's.
func (g *guard) SetDeadline(time.Time) error { return nil }

// LocalAddr returns the address that the client connected to.
func (g *guard) LocalAddr() net.Addr { return g.raw.LocalAddr() }

// RemoteAddr returns the client's address.
func (g *guard) RemoteAddr() net.Addr { return g.raw.RemoteAddr() }

// Close ends the session and lets the client read to the end; linger closes the connection.
func (g *guard) Close() error {
	g.flush()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.fail(ending{reason: g.tap.parting(), silent: true})
	g.lingers = closeWrite(g.raw)
	close(g.over)
	return nil
}

// enter notes that the tap is in another mode, or at another command line.
func (g *guard) enter() {
	now := time.Now()
	g.mode, g.since, g.moved, g.octets = g.tap.mode, now, now, 0
}

// checkStop ends a session, once the server stops, unless the content of a message is coming. An envelope that waits for
// its next command is no reason to stay: nothing of it was acknowledged but words.
func (g *guard) checkStop() {
	if g.stopping && !(g.busy && (g.tap.mode == inData || g.tap.open)) {
		g.fail(ending{reason: endShutdown, reply: shuttingDown, silent: g.mode == inHandshake})
	}
}

// checkBudget ends a session that costs much and brings nothing.
func (g *guard) checkBudget() {
	if g.tap.lmtp {
		return
	}
	if k := g.budget.spent(g.rules, g.in); k != noKind {
		g.fail(ending{reason: endErrors, reply: k})
	}
}

// fail ends the session for the first reason given. The lock is held.
func (g *guard) fail(e ending) {
	if g.ending != nil {
		return
	}
	switch {
	case g.mode == inHandshake && e.reason != endShutdown:
		e.reason = endHandshake
	case g.tap.verb == "QUIT" && (e.reason == endError || e.reason == endEOF):
		e.reason = endQuit // some clients hang up without reading the 221
	}
	g.ending = &e
}

// isOver tells whether the session is over, and says the last line if that is due.
func (g *guard) isOver() bool {
	g.mu.Lock()
	e := g.ending
	say := e != nil && !e.silent && !g.closed
	if say {
		e.silent = true
	}
	g.mu.Unlock()
	if say {
		g.farewell(e.reply)
		g.flush()
		g.mu.Lock()
		g.muted = true
		g.mu.Unlock()
	}
	return e != nil
}

// abort ends the session because of something that the session found.
func (g *guard) abort(e ending) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail(e)
}

// occupy says whether a transaction is under way, which a stopping server waits for.
func (g *guard) occupy(busy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = busy
}

// upgraded tells whether the connection is under TLS, or about to be.
func (g *guard) upgraded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sealed
}

// state returns what the log and the metrics say of the session.
func (g *guard) state() (e ending, handshaking bool, in, out int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending != nil {
		e = *g.ending
	}
	return e, g.mode == inHandshake, g.in, g.out
}

// reason is why the session is over; empty while it is not.
func (g *guard) reason() string {
	e, _, _, _ := g.state()
	return e.reason
}

// greeting returns the last greeting that was accepted: HELO, EHLO or LHLO.
func (g *guard) greeting() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tap.greeting
}
