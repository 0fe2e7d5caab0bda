package smtpd

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.org/letterbox/store"
)

// trace is what a Received field tells (RFC 5321 section 4.4).
type trace struct {
	helo     string
	greeting string
	peer     netip.Addr
	reverse  string // the peer's name in the DNS, if we know it
	utf8     bool   // SMTPUTF8
	tls      *tls.ConnectionState
	host     string
	id       store.ID
	to       string // only where there is no other recipient, who would be given away
	at       time.Time
}

// field returns the Received field. Nothing of it is the client's choice but the words of its greeting and of its
// forward-path, and neither can end a line or a comment.
func (t trace) field() []byte {
	b := make([]byte, 0, 160+len(t.helo)+len(t.reverse)+len(t.host)+len(t.to)) // and the little more that TLS or IPv6 take
	b = append(append(b, "Received: from "...), heloName(t.helo)...)
	switch {
	case t.peer.IsValid() && t.reverse != "":
		b = append(appendLiteral(append(append(append(b, " ("...), t.reverse...), ' '), t.peer), ')')
	case t.peer.IsValid():
		b = append(appendLiteral(append(b, " ("...), t.peer), ')')
	}
	b = append(append(append(append(b, "\r\n\tby "...), t.host...), " with "...), t.protocol()...)
	if t.tls != nil {
		version := strings.ReplaceAll(tls.VersionName(t.tls.Version), " ", "")
		b = fmt.Appendf(b, "\r\n\t(%s %s)", version, tls.CipherSuiteName(t.tls.CipherSuite))
	}
	b = t.id.Append(append(b, "\r\n\tid "...))
	if t.to != "" {
		b = append(append(append(b, "\r\n\tfor <"...), printablePath(t.to)...), '>')
	}
	b = append(b, ";\r\n\t"...)
	return append(t.at.UTC().AppendFormat(b, time.RFC1123Z), "\r\n"...)
}

// protocol is the keyword after "with" (RFC 3848, and RFC 6531 section 4.3). There is none for HELO under TLS; the comment
// tells.
func (t trace) protocol() string {
	name := "SMTP"
	switch {
	case t.greeting == "LHLO" && t.utf8:
		name = "UTF8LMTP"
	case t.greeting == "LHLO":
		name = "LMTP"
	case t.utf8:
		name = "UTF8SMTP"
	case t.greeting == "EHLO":
		name = "ESMTP"
	default:
		return name
	}
	if t.tls != nil {
		name += "S"
	}
	return name
}

// appendLiteral writes an address as RFC 5321 section 4.1.3 wants it.
func appendLiteral(b []byte, a netip.Addr) []byte {
	b = append(b, '[')
	if a.Is6() {
		b = append(b, "IPv6:"...)
	}
	return append(a.WithZone("").AppendTo(b), ']')
}

// heloName makes the word of a greeting fit to stand in a header field: of what no domain or address literal holds, each
// character becomes a question mark.
func heloName(s string) string {
	s = s[:min(len(s), 255)]
	others, literal := "-._", len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']'
	if literal {
		s, others = s[1:len(s)-1], "-._:"
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune(others, r):
			return r
		default:
			return '?'
		}
	}, s)
	if literal {
		return "[" + s + "]"
	}
	return s
}

// ownLines are the fields that stand above everything in one recipient's copy: the reverse-path (RFC 5321 section 4.4),
// and the forward-path for which this copy came.
func ownLines(from, to string) []byte {
	from, to = printablePath(from), printablePath(to)
	b := make([]byte, 0, len("Return-Path: <>\r\nDelivered-To: \r\n")+len(from)+len(to))
	b = append(append(append(b, "Return-Path: <"...), from...), ">\r\n"...)
	return append(append(append(b, "Delivered-To: "...), to...), "\r\n"...)
}

// printablePath writes a path that go-smtp has unquoted: with quotes where the local part needs them (RFC 5321 section
// 4.1.2), and with a question mark for what can't be printed.
func printablePath(path string) string {
	at := strings.LastIndexByte(path, '@')
	if at < 0 || isPlainPath(path) {
		return printable(path)
	}
	local, domain := path[:at], path[at+1:]
	if !isDotString(local) {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	return printable(local) + "@" + strings.Map(domainRune, printable(domain))
}

// isPlainPath tells whether a path is words of the commonest letters between single dots, and one @: nothing of it needs a quote.
func isPlainPath(path string) bool {
	at, last := false, byte('.')
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '+', c == '=':
		case last == '.', last == '@', c != '.' && c != '@', c == '@' && at:
			return false
		}
		at, last = at || c == '@', c
	}
	return at && last != '.' && last != '@'
}

// domainRune keeps a domain from ending the brackets that it stands in.
func domainRune(r rune) rune {
	if strings.ContainsRune(`<>()",;\ `, r) {
		return '?'
	}
	return r
}

// isDotString tells whether a local part needs no quotes: atext and single dots, or anything beyond ASCII (RFC 6531
// section 3.3).
func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || strings.ContainsRune(`()<>[]:;@\,"`, r)
	})
}

// printable makes a client's text fit for a log line or a header field.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
