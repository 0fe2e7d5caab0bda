package smtpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/emersion/go-smtp"
)

// maxLine is the longest line of a body, in octets with its end. The 1000 of RFC 5321 section 4.5.3.1.6 is exceeded by much
// mail that people want to have. BDAT knows no lines.
const maxLine = 64<<10 + 2

// patience is a deadline that go-smtp sets and the guard does not: it must not be 0, since the call is our signal for a
// command or a reply, and go-smtp would run commands that stand behind a QUIT.
const patience = 24 * time.Hour

// serve runs the session to its end, and closes the connection.
func (s *session) serve() {
	s.observer.SessionStart(s.listener.Name)
	if s.handshake() == nil && s.quietStart() {
		s.speak()
	}
	s.guard.Close()
	s.report()
	s.guard.linger()
}

// handshake does the handshake of implicit TLS.
func (s *session) handshake() error {
	if !s.listener.TLS {
		return nil
	}
	s.guard.expectTLS()
	if s.server.tls == nil {
		return fmt.Errorf("listener %s has no certificate", s.listener.Name)
	}
	c := tls.Server(s.guard, s.server.tls)
	if err := c.Handshake(); err != nil {
		return err
	}
	s.first = c
	return nil
}

// quietStart tells whether the client waits for the greeting. Under TLS it has spoken already, and a client of LMTP is the
// operator's own.
func (s *session) quietStart() bool {
	if s.listener.TLS || s.listener.LMTP {
		return true
	}
	s.guard.listenFirst()
	return !s.guard.isOver()
}

// speak lets go-smtp serve the connection, and returns when nothing of it runs any more.
func (s *session) speak() {
	srv := s.protocol()
	srv.Serve(&oneShot{conn: s.first, over: s.guard.over})
	srv.Shutdown(context.Background()) // waits for the goroutine of the connection, whose guard is closed
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for s.running > 0 {
		s.quiet.Wait()
	}
}

// protocol returns the go-smtp server of this one connection, about 4 KiB.
func (s *session) protocol() *smtp.Server {
	srv := smtp.NewServer(s)
	srv.Domain = s.server.config.Hostname
	if !s.listener.TLSInFront {
		srv.TLSConfig = s.server.tls
	}
	srv.LMTP = s.listener.LMTP
	srv.EnableSMTPUTF8 = true
	srv.MaxLineLength = 0 // the tap counts, of commands and of DATA
	srv.ReadTimeout, srv.WriteTimeout = patience, patience
	srv.Debug = debugWriter{s.guard}
	srv.ErrorLog = errorLog{s}
	if !s.listener.LMTP {
		// One above ours: go-smtp refuses a message of exactly its maximum. In LMTP it would read what is left of a refused
		// message beside writing the replies, and the tap could not tell one from the other: there the transfer does it.
		srv.MaxMessageBytes = s.guard.rules.MaxMessageBytes + 1
	}
	return srv
}

// report tells the log and the metrics how the session went.
func (s *session) report() {
	e, handshaking, in, out := s.guard.state()
	took := time.Since(s.guard.started)
	s.log.Info().Str("reason", e.reason).Int64("octets", in).Dur("took", took).Msg("session")
	if handshaking {
		s.observer.Handshake(s.listener.Name, "none", "failed")
	}
	s.observer.SessionEnd(s.listener.Name, e.reason, took, in, out)
}

// oneShot is a listener with one connection. Accept returns it, and the second time blocks until it is over.
type oneShot struct {
	conn net.Conn
	over <-chan struct{}
}

func (l *oneShot) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.over
	return nil, net.ErrClosed
}

func (l *oneShot) Close() error   { return nil }
func (l *oneShot) Addr() net.Addr { return oneShotAddr{} }

type oneShotAddr struct{}

func (oneShotAddr) Network() string { return "smtpd" }
func (oneShotAddr) String() string  { return "one connection" }

// errorLog is go-smtp's: what our own callbacks do not catch.
type errorLog struct{ s *session }

// Printf logs one error. A goroutine of BDAT that begins when its session is gone panics inside go-smtp, which catches it;
// that is no news.
func (l errorLog) Printf(format string, v ...any) {
	e := l.s.log.Error()
	if l.s.guard.reason() != "" {
		e = l.s.log.Debug()
	}
	e.Str("error", printable(fmt.Sprintf(format, v...))).Msg("smtp library")
}

// Println logs one error.
func (l errorLog) Println(v ...any) { l.Printf("%s", fmt.Sprintln(v...)) }
