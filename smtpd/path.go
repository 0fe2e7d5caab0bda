package smtpd

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.org/letterbox/store"
)

// Bounds of names and paths, in octets. A forward-path counts with its brackets (RFC 5321 section 4.5.3.1). Reverse-paths
// are taken far beyond the 256 that they may have: those of mailing lists and forwarders (VERP, SRS, BATV) hold another
// address whole.
const (
	maxHelo        = 255
	maxLocalPart   = 64
	maxDomain      = 255
	maxForwardPath = 256
	maxReversePath = 1024
)

// greetingFault returns what is wrong with the name of a HELO or EHLO. Any form is taken: what clients call themselves is
// printed, made harmless, and decides nothing.
func greetingFault(name string) kind {
	if len(name) > maxHelo || strings.ContainsFunc(name, unicode.IsControl) {
		return badGreeting
	}
	return noKind
}

// reversePathFault returns what is wrong with the path of a MAIL, without brackets and quotes. A message comes back to it
// or does not; it is the sender's business what it looks like.
func reversePathFault(path string, smtputf8 bool) kind {
	switch {
	case len(path) > maxReversePath, strings.ContainsFunc(path, unicode.IsControl):
		return badSender
	case isASCII(path):
		return noKind
	case !smtputf8:
		return notASCII // RFC 6531 section 3.5
	case !utf8.ValidString(path):
		return badSender
	}
	return noKind
}

// forwardPath checks the path of a RCPT, without brackets, quotes and source route, and returns it as the store and the
// trace shall have it. An address literal of ours stands for our host name; any other, and the routes of old that are
// written with % and !, ask for a relay.
func (s *session) forwardPath(path string, smtputf8 bool) (string, kind) {
	at := strings.LastIndexByte(path, '@') // a quoted local part may hold one
	local, domain := path[:max(at, 0)], path[at+1:]
	switch {
	case local == "", len(local) > maxLocalPart, len(domain) > maxDomain, len(path)+len("<>") > maxForwardPath:
		return "", badRecipient
	case !utf8.ValidString(path), strings.ContainsFunc(path, unicode.IsControl):
		return "", badRecipient
	case !smtputf8 && !isASCII(local):
		return "", notASCII
	case strings.ContainsAny(local, "%!"):
		return "", noRelay
	case domain != "" && domain[0] == '[':
		if !s.isOurs(domain) {
			return "", noRelay
		}
		domain = s.server.config.Hostname
	}
	canonical, err := store.ParseDomain(domain)
	if err != nil {
		return "", badRecipient
	}
	if !smtputf8 && !isASCII(domain) {
		domain = canonical // a message that is not internationalized has no other letters in its header
	}
	return local + "@" + strings.TrimSuffix(domain, "."), noKind
}

// isOurs tells whether an address literal (RFC 5321 section 4.1.3) is the address that the client connected to.
func (s *session) isOurs(literal string) bool {
	text := strings.TrimSuffix(literal[1:], "]")
	if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
		text = text[5:]
	}
	a, err := netip.ParseAddr(text)
	return err == nil && len(text) < len(literal)-1 && a.Unmap() == peerOf(s.guard.LocalAddr())
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
