package pop3d

import (
	"strconv"
	"strings"
	"time"
)

// capa is RFC 2449 section 5. What AUTHORIZATION has, TRANSACTION has, too; only STLS is for AUTHORIZATION alone
// (RFC 2595 section 8), and IMPLEMENTATION is kept for those who have logged in (RFC 2449 section 6.9). TOP and UIDL stand
// there from the start: clients decide by the first CAPA what the server can do, some of them for ever.
func (s *session) capa(request) reply {
	lines := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE " + s.expire()}
	if delay := s.policy.LoginDelay; delay > 0 {
		seconds := int64((delay + time.Second - 1) / time.Second)
		lines = append(lines, "LOGIN-DELAY "+strconv.FormatInt(seconds, 10)) // RFC 2449 section 6.5
	}
	lines = append(lines, "UTF8 USER", "LANG") // RFC 6856 sections 2 and 3
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

// expire is the argument of EXPIRE (RFC 2449 section 6.7). EXPIRE 0 would say that nothing may be left on the server at
// all, so the least that a policy makes of it is 1.
func (s *session) expire() string {
	if s.policy.Expire <= 0 {
		return "NEVER"
	}
	return strconv.FormatInt(max(int64(s.policy.Expire/(24*time.Hour)), 1), 10)
}

// multiline is a positive reply with these lines behind it.
func multiline(text string, lines []string) reply {
	return reply{ok: true, text: text, body: func(s *session, _ int) error {
		w := &s.out
		for _, line := range lines {
			w.text(line + "\r\n")
		}
		w.dot()
		return nil
	}}
}

// utf8 is RFC 6856 section 2.1. It promises that what the client says is UTF-8. Messages are sent as they are to clients
// that did not ask, too.
func (s *session) utf8(request) reply {
	s.unicode = true
	return positive("names and passwords are UTF-8")
}

// ourLanguage is the one in which our texts are (RFC 2277 section 4.5).
const ourLanguage = "i-default"

// lang is RFC 6856 section 3: without an argument it lists the languages, with one it selects the first that the language
// range matches (RFC 4647 section 3.3.1).
func (s *session) lang(q request) reply {
	if len(q.words) == 0 {
		return multiline("language listing follows", []string{ourLanguage + " Default language"})
	}
	wanted := strings.ToLower(q.words[0])
	if wanted != "*" && !strings.HasPrefix(ourLanguage+"-", wanted+"-") {
		return negative(codeNone, "there is no such language, only "+ourLanguage)
	}
	return positive(ourLanguage + " language selected")
}
