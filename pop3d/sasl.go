package pop3d

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
)

// The SASL mechanisms (RFC 4422). Beside USER they are the labels of logins.
const (
	mechanismPlain     = "PLAIN"
	mechanismLogin     = "LOGIN"
	mechanismSCRAM     = "SCRAM-SHA-256"
	mechanismSCRAMPlus = "SCRAM-SHA-256-PLUS"
)

// mechanism is one row of the table of SASL mechanisms.
type mechanism struct {
	name string
	// offered tells whether it is open to the session, where a password may be sent at all. SCRAM sends none, but who
	// listens can try passwords on what it sends (RFC 5802 section 9), so the same rule holds for it.
	offered func(*session) bool
	// run holds the exchange. The initial response is nil where there was none.
	run func(s *session, initial []byte) reply
}

// mechanismTable returns the mechanisms, the best first: there are clients that take the first one that they know.
func mechanismTable() []mechanism {
	always := func(*session) bool { return true }
	return []mechanism{
		{mechanismSCRAMPlus, func(s *session) bool { return s.binding() != nil }, (*session).scramPlus},
		{mechanismSCRAM, func(s *session) bool { return s.policy.SCRAM }, (*session).scram},
		{mechanismPlain, always, (*session).plain},
		{mechanismLogin, always, (*session).login},
	}
}

// mechanismNames returns the names of the mechanisms that are open to this session.
func (s *session) mechanismNames() []string {
	var names []string
	for _, m := range s.srv.mechanisms {
		if s.passwordsAllowed() && m.offered(s) {
			names = append(names, m.name)
		}
	}
	return names
}

// auth is RFC 5034 section 4; without an argument it lists the mechanisms, as clients older than CAPA expect.
func (s *session) auth(q request) reply {
	if len(q.words) == 0 {
		return multiline("mechanisms follow", s.mechanismNames())
	}
	i := slices.IndexFunc(s.srv.mechanisms, func(m mechanism) bool { return strings.EqualFold(m.name, q.words[0]) })
	switch {
	case i < 0 || !s.srv.mechanisms[i].offered(s):
		return rejected("unknown authentication mechanism")
	case !s.passwordsAllowed():
		return s.refusePassword(s.srv.mechanisms[i].name)
	case len(q.words) == 1:
		return s.srv.mechanisms[i].run(s, nil)
	}
	initial, ok := decode([]byte(q.words[1]))
	if q.words[1] == "=" {
		initial, ok = []byte{}, true // present and empty
	}
	if !ok {
		return rejected("the response is not base64")
	}
	return s.srv.mechanisms[i].run(s, initial)
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
	if failure, ok := s.forItself(mechanismPlain, parts[0], parts[1]); !ok {
		return failure
	}
	return s.logIn(mechanismPlain, parts[1], parts[2])
}

// forItself refuses a login as authcid that is to act for another account, authzid (RFC 4422 section 3.4.1).
func (s *session) forItself(mechanism, authzid, authcid string) (reply, bool) {
	if authzid == "" || strings.EqualFold(authzid, authcid) {
		return reply{}, true
	}
	s.fail(mechanism, loginCredential)
	return negative(codeAuth, "one account can't log in for another"), false
}

// login is the LOGIN mechanism, which no RFC describes: it asks for name and password in turn. Clients go by the order and
// some by these very prompts. An initial response is the name.
func (s *session) login(initial []byte) reply {
	if initial == nil {
		response, failure, ok := s.challenge([]byte("Username:"))
		if !ok {
			return failure
		}
		initial = response
	}
	name := string(initial)
	secret, failure, ok := s.challenge([]byte("Password:"))
	if !ok {
		return failure
	}
	password := string(secret)
	clear(secret)
	if name == "" || password == "" {
		return rejected("malformed response")
	}
	return s.logIn(mechanismLogin, name, password)
}

// challenge sends one challenge and returns the response to it, or the reply that ends the exchange.
func (s *session) challenge(challenge []byte) (response []byte, failure reply, ok bool) {
	s.out.text("+ " + base64.StdEncoding.EncodeToString(challenge) + "\r\n")
	line, failure, ok := s.next()
	if !ok {
		return nil, failure, false
	}
	if string(line) == "*" {
		return nil, rejected("authentication cancelled"), false
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
