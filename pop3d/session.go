package pop3d

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// session is one connection from its first octet to its last. One goroutine owns it.
type session struct {
	srv      *Server
	policy   *Policy
	listener Listener
	observer Observer
	id       string
	began    time.Time
	log      zerolog.Logger

	conn   *guard
	tls    *tls.Conn // nil in clear
	remote netip.Addr
	local  bool // what is sent does not leave this machine
	// proxied says that a PROXY header gave remote.
	proxied bool
	in      lineReader
	out     writer
	message exactReader // the one that is sent
	// moment is when what is at hand came from the client, or the command before it was through.
	moment time.Time
	// cut closes without a farewell, so that what was sent can't be taken for all.
	cut bool

	state    state
	unicode  bool   // the client promised UTF-8
	name     string // what USER said, until the next command
	commands int    // lines that were taken for a command
	bad      int    // commands that made no sense
	failures int    // logins without success
	loggedIn string // how the last login went, one of the values of LabelValues; empty before the first
	box      *maildrop
	result   string // how the maildrop was left
}

// newSession prepares a session on g. Nothing is sent or read yet.
func newSession(srv *Server, g *guard, l Listener) *session {
	policy := srv.policy.Load()
	g.patience = policy.WriteTimeout
	s := &session{
		srv: srv, policy: policy, listener: l, began: time.Now(),
		id:   rand.Text()[:12],
		conn: g, remote: address(g.RemoteAddr()), local: staysHere(g.Conn),
		state: authorization, result: resultNone,
	}
	if c, ok := g.Conn.(interface{ Proxied() bool }); ok {
		s.proxied = c.Proxied()
	}
	s.log, s.observer = srv.config.Log, srv.observer
	if l.Quiet {
		s.log, s.observer = zerolog.Nop(), nobody{}
	}
	s.in.src, s.out.dst, s.out.pool = g, g, srv.buffers
	return s
}

// serve is the session's loop.
func (s *session) serve() end {
	r := s.respond(s.greet())
	for {
		if r.then != nil && s.out.flush() == nil {
			s.out.release()
			r = r.then()
		}
		if r.end != endNone {
			_ = s.out.flush() // the session is over, whether its last words arrive or not
			return r.end
		}
		line, failure, ok := s.next()
		if ok {
			r = s.command(line)
		} else {
			r = s.respond(failure)
		}
	}
}

// greet returns the greeting (RFC 1939 section 4), behind the handshake where TLS is implicit. It holds no angle bracket:
// that would offer APOP.
func (s *session) greet() reply {
	if s.listener.TLS {
		if why := s.handshake(); why != endNone {
			return over(why)
		}
	}
	return positive(s.srv.config.Hostname + " POP3 ready")
}

// respond writes r to the buffer and returns it, or what took its place.
func (s *session) respond(r reply) reply {
	if r.mute {
		return r
	}
	mark := s.out.mark()
	s.out.status(r)
	if r.body == nil {
		return r
	}
	err := r.body(s, r.message)
	switch {
	case err == nil && s.out.err == nil:
		return r
	case s.out.rollback(mark):
		s.event(zerolog.WarnLevel).Err(err).Msg("the store could not give a message")
		r = storeFailed(err)
		s.out.status(r)
		return r
	}
	s.cut = true
	if s.out.err != nil {
		return over(s.broken(s.out.err))
	}
	s.event(zerolog.WarnLevel).Err(err).Msg("a message broke off; the connection is cut")
	s.out.buf = s.out.buf[:0]
	return over(endError)
}

// command runs one line: it finds its row of the table, and counts and writes the reply, which it returns.
func (s *session) command(line []byte) reply {
	began := s.moment
	s.commands++
	cmd, argument, known := s.srv.find(line)
	verb := cmd.verb
	if verb != "PASS" {
		s.name = "" // PASS comes immediately after USER (RFC 1939 section 7)
	}
	var r reply
	switch {
	case !known:
		verb, r = verbOther, s.unknown(line)
	case s.box != nil && s.box.isLost():
		r = s.lost()
	case s.commands > s.policy.MaxCommands && verb != "QUIT":
		r = negative(codeTemporary, "too many commands in one session, nothing was deleted")
		r.end = endErrors
	default:
		r = s.execute(cmd, line, argument)
	}
	r = s.respond(s.limit(r))
	s.moment = time.Now()
	s.observer.Command(verb, r.ok, s.moment.Sub(began))
	return r
}

// execute checks what the table says of cmd and runs it.
func (s *session) execute(cmd command, line, argument []byte) reply {
	if s.isTooLong(line) && cmd.shape != words {
		return reply{text: "line is too long", bad: true, end: endProtocol}
	}
	if cmd.states&s.state == 0 {
		return rejected("not in this state")
	}
	if cmd.password && !s.passwordsAllowed() {
		return s.refusePassword(mechanismUser)
	}
	q, wrong := cmd.shape.parse(argument)
	if cmd.secret {
		clear(line)
	}
	if wrong != "" {
		return rejected(wrong)
	}
	s.active()
	return cmd.run(s, q)
}

// activeEvery is how often the store hears of commands that come one after the other.
const activeEvery = time.Second

// active tells the store that the client moved.
func (s *session) active() {
	if s.box != nil && s.moment.Sub(s.box.active) >= activeEvery {
		s.box.active = s.moment
		s.box.Active()
	}
}

// unknown answers a line whose verb is not in the table.
func (s *session) unknown(line []byte) reply {
	if bytes.Contains(line, []byte(" HTTP/")) {
		return reply{text: "this is POP3", bad: true, end: endProtocol}
	}
	if s.isTooLong(line) {
		return reply{text: "line is too long", bad: true, end: endProtocol}
	}
	return rejected("unknown command")
}

// isTooLong tells whether a line is longer than a command may be.
func (s *session) isTooLong(line []byte) bool {
	return len(line)+len("\r\n") > s.policy.MaxCommandLength
}

// limit counts what went wrong and ends a session in which too much did.
func (s *session) limit(r reply) reply {
	if r.bad {
		s.bad++
	}
	if r.end == endNone && (s.bad >= s.policy.MaxErrors || s.failures >= s.policy.MaxLoginFailures) {
		r.end = endErrors
	}
	return r
}

// next returns the client's next line, or the reply that ends the session when there is none. Replies are held back while
// whole lines are here already (RFC 2449 section 6.6).
func (s *session) next() (line []byte, failure reply, ok bool) {
	var deadline time.Time
	for {
		line, ok, err := s.in.take()
		if ok {
			return line, reply{}, true
		}
		if err == nil {
			err = s.out.flush()
		}
		if err == nil {
			s.out.release()
			if s.box != nil {
				s.box.idle()
			}
			if deadline.IsZero() {
				deadline = s.deadline()
			}
			err = s.conn.readUntil(deadline)
		}
		if err == nil {
			err = s.in.fill()
			s.moment = time.Now()
		}
		if err != nil {
			return nil, s.unreadable(err), false
		}
	}
}

// deadline is when the command that is waited for must have come.
func (s *session) deadline() time.Time {
	now := time.Now()
	if s.state == transaction {
		return now.Add(s.policy.IdleTimeout)
	}
	patience, last := now.Add(s.policy.AuthTimeout), s.began.Add(s.policy.LoginTimeout)
	if patience.Before(last) {
		return patience
	}
	return last
}

// unreadable says how a session ends whose next line did not come.
func (s *session) unreadable(err error) reply {
	switch {
	case errors.Is(err, errLineTooLong):
		return reply{text: "line is too long", end: endProtocol}
	case errors.Is(err, errNotText):
		return reply{text: "this is POP3", end: endProtocol}
	case s.out.err != nil:
		return over(s.broken(s.out.err))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // the latter: TLS without its close_notify
		return over(endEOF)
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return over(s.broken(err))
	case s.conn.isWoken():
		// It answers the command that the client was about to send: RFC 1939 knows no other way to say it.
		return reply{code: codeTemporary, text: "shutting down, nothing was deleted", end: endShutdown}
	case s.state == authorization && time.Since(s.began) >= s.policy.LoginTimeout:
		return over(endSlow)
	}
	return over(endIdle) // in silence: RFC 1939 section 3
}

// broken says how a session ends whose connection failed.
func (s *session) broken(err error) end {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return endSlow
	case errors.Is(err, net.ErrClosed) && s.conn.isWoken():
		return endShutdown
	}
	return endError
}

// context returns the context of calls to the store. It ends with the server, not with the connection: a QUIT that came
// is carried out.
func (s *session) context() context.Context { return s.srv.ctx }

// lost answers the first command after the maildrop was taken away, QUIT too: the marks are void.
func (s *session) lost() reply {
	s.result = resultFailed
	r := negative(codeTemporary, "the maildrop is no longer this session's, nothing was deleted")
	r.end = endLost
	return r
}
