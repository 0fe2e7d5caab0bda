package pop3d

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"unicode"

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
	loginInUse      = "in-use"
	loginBusy       = "busy"
	loginPlaintext  = "plaintext" // refused before the password was sent
	loginTemporary  = "temporary"
)

// mechanism is one row of the table of SASL mechanisms (RFC 4422).
type mechanism struct {
	password bool // it sends the password, if encoded
	// run holds the exchange. The initial response is nil where there was none.
	run func(s *session, initial []byte) reply
}

// mechanismTable returns the mechanisms by name in upper case.
func mechanismTable() map[string]mechanism {
	return map[string]mechanism{
		"PLAIN": {password: true, run: (*session).plain},
	}
}

// capa is RFC 2449 section 5. What AUTHORIZATION has, TRANSACTION has, too; only STLS is for AUTHORIZATION alone
// (RFC 2595 section 8), and IMPLEMENTATION is kept for those who have logged in (RFC 2449 section 6.9).
func (s *session) capa(request) reply {
	lines := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"}
	if s.passwordsAllowed() {
		lines = append(lines, "USER")
	}
	if names := s.mechanismNames(); len(names) > 0 {
		lines = append(lines, "SASL "+strings.Join(names, " "))
	}
	if s.state == authorization && s.stlsOffered() {
		lines = append(lines, "STLS")
	}
	if s.state == transaction {
		lines = append(lines, strings.TrimSuffix("IMPLEMENTATION letterbox-"+s.srv.config.Version, "-"))
	}
	return multiline("capability list follows", lines)
}

// multiline is a positive reply with these lines behind it.
func multiline(text string, lines []string) reply {
	return reply{ok: true, text: text, body: func(w *writer) error {
		for _, line := range lines {
			w.text(line + "\r\n")
		}
		w.dot()
		return nil
	}}
}

// mechanismNames returns the names of the mechanisms that are open to this session, in order.
func (s *session) mechanismNames() []string {
	var names []string
	for name, m := range s.srv.mechanisms {
		if !m.password || s.passwordsAllowed() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// passwordsAllowed tells whether a password may come over this connection as it is now.
func (s *session) passwordsAllowed() bool {
	switch {
	case s.tls != nil, s.listener.TLSInFront, s.policy.Plaintext == PlaintextAlways:
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
	return s.logIn(mechanismUser, name, q.rest)
}

// auth is RFC 5034 section 4; without an argument it lists the mechanisms, as clients older than CAPA expect.
func (s *session) auth(q request) reply {
	if len(q.words) == 0 {
		return multiline("mechanisms follow", s.mechanismNames())
	}
	name := strings.ToUpper(q.words[0])
	m, ok := s.srv.mechanisms[name]
	if !ok {
		return rejected("unknown authentication mechanism")
	}
	if m.password && !s.passwordsAllowed() {
		return s.refusePassword(name)
	}
	if len(q.words) == 1 {
		return m.run(s, nil)
	}
	initial, ok := decode([]byte(q.words[1]))
	if q.words[1] == "=" {
		initial, ok = []byte{}, true // present and empty
	}
	if !ok {
		return rejected("the response is not base64")
	}
	return m.run(s, initial)
}

// plain is the PLAIN mechanism (RFC 4616 section 2).
func (s *session) plain(initial []byte) reply {
	if initial == nil {
		response, failure, ok := s.challenge(nil)
		if !ok {
			return failure
		}
		initial = response
	}
	parts := strings.Split(string(initial), "\x00")
	clear(initial)
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return rejected("malformed response")
	}
	if parts[0] != "" && !strings.EqualFold(parts[0], parts[1]) {
		s.fail("PLAIN", loginCredential)
		return negative(codeAuth, "one account can't log in for another")
	}
	return s.logIn("PLAIN", parts[1], parts[2])
}

// challenge sends one challenge and returns the response to it, or the reply that ends the exchange.
func (s *session) challenge(challenge []byte) (response []byte, failure reply, ok bool) {
	s.out.text("+ " + base64.StdEncoding.EncodeToString(challenge) + "\r\n")
	line, failure, ok := s.next()
	if !ok {
		return nil, failure, false
	}
	if string(line) == "*" {
		return nil, negative(codeNone, "authentication cancelled"), false
	}
	response, ok = decode(line)
	clear(line)
	if !ok {
		return nil, rejected("the response is not base64"), false
	}
	return response, reply{}, true
}

// decode reads base64 as strictly as RFC 5034 section 4 wants it: line ends, which the decoder skips, are no part of it.
func decode(text []byte) ([]byte, bool) {
	if bytes.ContainsAny(text, "\r\n") {
		return nil, false
	}
	decoded, err := base64.StdEncoding.Strict().AppendDecode([]byte{}, text)
	return decoded, err == nil
}

// logIn asks the store for the maildrop and enters the TRANSACTION state (RFC 1939 section 4).
func (s *session) logIn(mechanism, name, secret string) reply {
	ctx, cancel := context.WithTimeout(s.context(), s.policy.AuthTimeout)
	defer cancel()
	m, err := s.srv.config.Store.Open(ctx, store.Login{
		Session: s.id, Peer: s.remote, TLS: s.tls != nil || s.listener.TLSInFront,
		Mechanism: mechanism, Name: name, Secret: secret,
	})
	if err != nil {
		return s.refuse(mechanism, err)
	}
	s.box, s.state = newMaildrop(m, printable(name)), transaction
	s.login, s.result = loginOK, resultDropped
	s.srv.observer.Login(mechanism, loginOK)
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
	s.login = result
	s.failures++
	s.srv.observer.Login(mechanism, result)
}
