package pop3d

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
)

// The results of a session that logged in, for its line in the log.
const (
	resultOK      = "ok"      // QUIT was carried out
	resultDropped = "dropped" // it ended otherwise: nothing deleted
	resultFailed  = "failed"  // QUIT came, the store could not
	resultNone    = "none"    // it never tried to log in
)

// run serves the session and closes its connection. A panic ends this session and no other.
func (s *session) run() {
	s.observer.SessionStart(s.listener.Name)
	why := endPanic
	defer func() {
		if p := recover(); p != nil {
			why, s.cut = endPanic, true
			s.event(zerolog.ErrorLevel).Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("panic in a session")
		}
		s.finish(why)
	}()
	why = s.serve()
}

// finish frees what the session holds, closes the connection and writes the session's line.
func (s *session) finish(why end) {
	retrieved, deleted, octets := 0, 0, int64(0)
	account := ""
	if s.box != nil {
		s.close()
		if marks := len(s.box.marked()); marks > s.box.gone {
			s.observer.Discarded(marks)
		}
		account, retrieved, deleted, octets = s.box.account, s.box.retrieved, s.box.gone, s.box.octets
	}
	took := time.Since(s.began)
	s.hangUp(why)
	s.out.release()
	if s.loggedIn != "" && s.loggedIn != loginOK {
		s.result = s.loggedIn
	}
	level := zerolog.InfoLevel
	if why == endError || why == endPanic {
		level = zerolog.WarnLevel
	}
	e := s.event(level)
	if account != "" {
		e = e.Str("account", account)
	}
	e.Str("result", s.result).Str("reason", string(why)).Int("retrieved", retrieved).Int("deleted", deleted).
		Int64("octets", octets).Dur("took", took).Msg("session")
	s.observer.SessionEnd(s.listener.Name, string(why), took, s.in.octets, s.out.octets)
}

// hangUp closes the connection; behind a reply it gives the client time to read it.
func (s *session) hangUp(why end) {
	defer s.conn.Close()
	if s.cut || s.out.err != nil {
		return
	}
	switch why {
	case endEOF, endSlow, endPanic:
		return
	}
	s.conn.hurry()
	if s.tls != nil {
		_ = s.tls.CloseWrite() // close_notify; a peer that is gone does not need it
	}
	s.conn.linger()
}

// event begins a line of the log with what tells this session from others.
func (s *session) event(level zerolog.Level) *zerolog.Event {
	remote := "unix"
	if s.remote.IsValid() {
		remote = s.remote.String()
	}
	return s.log.WithLevel(level).Str("sid", s.id).Str("role", "pop3d").Str("listener", s.listener.Name).
		Str("remote", remote)
}
