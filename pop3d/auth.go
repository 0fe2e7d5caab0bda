package pop3d

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

// mechanismUser stands for the USER and PASS commands beside the SASL mechanisms.
const mechanismUser = "USER"

// How a login went, for metrics and the log.
const (
	loginOK         = "ok"
	loginCredential = "credential"
	loginThrottled  = "throttled"
	loginTooSoon    = "login-delay"
	loginInUse      = "in-use"
	loginBusy       = "busy"
	loginPlaintext  = "plaintext" // refused before the password was sent
	loginTemporary  = "temporary"
)

// passwordsAllowed tells whether a password may come over this connection as it is now.
func (s *session) passwordsAllowed() bool {
	switch {
	case s.secure(), s.policy.Plaintext == PlaintextAlways:
		return true
	case s.policy.Plaintext == PlaintextLoopback:
		return s.local
	}
	return false
}

// refusePassword answers a login that would send a password in clear. It bears no [AUTH]: the client's credentials may
// be right, and it is not to ask its user for others.
func (s *session) refusePassword(mechanism string) reply {
	s.fail(mechanism, loginPlaintext)
	if s.stlsOffered() {
		return negative(codeNone, "passwords are not taken without TLS: use STLS first, or POP3S")
	}
	return negative(codeNone, "passwords are not taken without TLS: use POP3S")
}

// user is RFC 1939 section 7. The answer is the same for every name.
func (s *session) user(q request) reply {
	if s.unicode && !utf8.ValidString(q.words[0]) {
		return rejected("the name is not UTF-8")
	}
	s.name = q.words[0]
	return positive("send PASS")
}

// pass is RFC 1939 section 7. The argument is the password to its last blank.
func (s *session) pass(q request) reply {
	name := s.name
	s.name = ""
	if name == "" {
		return rejected("send USER first")
	}
	if s.unicode && !utf8.ValidString(q.rest) {
		return rejected("the password is not UTF-8")
	}
	return s.logIn(mechanismUser, name, q.rest)
}

// logIn asks the store for the maildrop and enters the TRANSACTION state (RFC 1939 section 4).
func (s *session) logIn(mechanism, name, secret string) reply {
	ctx, cancel := context.WithTimeout(s.context(), s.policy.AuthTimeout)
	defer cancel()
	m, err := s.srv.config.Store.Open(ctx, store.Login{
		Session: s.id, Peer: s.remote, Proxied: s.proxied, TLS: s.secure(),
		Mechanism: mechanism, Name: name, Secret: secret,
	})
	if err != nil {
		return s.refuse(mechanism, err)
	}
	return s.enter(m, mechanism, name)
}

// enter begins the TRANSACTION state with the maildrop that the login opened.
func (s *session) enter(m store.Maildrop, mechanism, name string) reply {
	s.box, s.state = newMaildrop(m, printable(name)), transaction
	s.conn.busy = m.Active
	s.loggedIn, s.result = loginOK, resultDropped
	s.observer.Login(mechanism, loginOK)
	return positive("maildrop has " + s.box.summary())
}

// printable returns a name as the log may hold it.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && r != unicode.ReplacementChar {
			return r
		}
		return '?'
	}, name)
}

// refuse answers a login that failed. An unknown account and a wrong password are told the same.
func (s *session) refuse(mechanism string, err error) reply {
	result, r := loginTemporary, negative(codeTemporary, "can't log you in now, try again later")
	switch {
	case errors.Is(err, store.ErrCredential):
		result, r = loginCredential, negative(codeAuth, "wrong name or password")
	case errors.Is(err, store.ErrInUse):
		result, r = loginInUse, negative(codeInUse, "another session has this maildrop")
	case errors.Is(err, store.ErrLoginDelay):
		result, r = loginTooSoon, negative(codeLoginDelay, "too soon after the last login")
	case errors.Is(err, store.ErrThrottled):
		result = loginThrottled
	case errors.Is(err, store.ErrBusy):
		result = loginBusy
	default:
		s.event(zerolog.WarnLevel).Err(err).Msg("maildrop could not be opened")
	}
	s.fail(mechanism, result)
	return r
}

// fail counts a login without success.
func (s *session) fail(mechanism, result string) {
	s.loggedIn = result
	s.failures++
	s.observer.Login(mechanism, result)
}
