package smtpd

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"example.org/letterbox/store"
	"github.com/rs/zerolog"
)

// literalConn has the addresses of a connection and nothing else.
type literalConn struct {
	net.Conn
	local string
}

func (c literalConn) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.local), 25))
}
func (c literalConn) RemoteAddr() net.Addr { return c.LocalAddr() }

func pathSession(local string) *session {
	s := New(Config{Hostname: "mx.a.test", Store: &recorder{}, Log: zerolog.Nop()}, Policy{})
	return newSession(s, literalConn{local: local}, Listener{})
}

// TestOurLiterals are the forms of our own address.
func TestOurLiterals(t *testing.T) {
	for _, tt := range []struct{ local, literal, want string }{
		{"192.0.2.1", "[192.0.2.1]", "x@mx.a.test"},
		{"192.0.2.1", "[192.0.2.2]", ""},
		{"192.0.2.1", "[IPv6:::ffff:192.0.2.1]", "x@mx.a.test"},
		{"2001:db8::1", "[IPv6:2001:DB8:0::1]", "x@mx.a.test"},
		{"2001:db8::1", "[ipv6:2001:db8::2]", ""},
		{"2001:db8::1", "[IPv6:]", ""},
		{"2001:db8::1", "[", ""},
		{"2001:db8::1", "[]", ""},
		{"2001:db8::1", "[2001:db8::1", ""},
	} {
		got, k := pathSession(tt.local).forwardPath("x@"+tt.literal, false)
		if got != tt.want || (k == noRelay) != (tt.want == "") {
			t.Errorf("%s at %s: %q, %d", tt.literal, tt.local, got, k)
		}
	}
}

// FuzzPath holds what must be true of every path that is taken, and of every one that is not.
func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"ann@a.test", "Ann@A.TEST.", "a@b@c", "@a.test", "ann@", "ann", "x%y@a.test", "x!y@a.test", "ann@[192.0.2.1]", "ann@[192.0.2.2]",
		"jos\u00e9@b\u00fccher.test", "x@\u3002", "\xff@a.test", "a\x00b@a.test", strings.Repeat("x", 65) + "@a.test", "x@xn--a.test",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	s := pathSession("192.0.2.1")
	f.Fuzz(func(t *testing.T, path string, smtputf8 bool) {
		if k := reversePathFault(path, smtputf8); (k == noKind) != modelReverse(path, smtputf8) {
			t.Errorf("reverse %q: %d", path, k)
		}
		got, k := s.forwardPath(path, smtputf8)
		if (got == "") != (k != noKind) {
			t.Fatalf("%q: %q and %d", path, got, k)
		}
		if k != noKind {
			if isPlainAddress(path) {
				t.Errorf("%q is refused with %d", path, k)
			}
			return
		}
		a, err := store.ParseAddress(got)
		at := strings.LastIndexByte(path, '@')
		switch {
		case err != nil:
			t.Errorf("%q became %q, which the store does not know: %v", path, got, err)
		case a.Local != strings.ToLower(path[:at]):
			t.Errorf("%q has another local part: %q", path, got)
		case len(path[:at]) > 64, len(path) > 254, strings.ContainsAny(a.Local, "%!"):
			t.Errorf("%q is taken", path)
		case !smtputf8 && !isASCII(got), strings.ContainsFunc(got, unicode.IsControl), !utf8.ValidString(got):
			t.Errorf("%q can't stand in a header", got)
		}
	})
}

// modelReverse is the rule for reverse-paths, one rune at a time.
func modelReverse(path string, smtputf8 bool) bool {
	for _, r := range path {
		if r < ' ' || (r >= 0x7f && (!smtputf8 || r < 0xa0)) {
			return false
		}
	}
	return len(path) <= 1024 && (smtputf8 || !strings.ContainsRune(path, utf8.RuneError)) && utf8.ValidString(path)
}

// isPlainAddress knows some addresses that every server takes.
func isPlainAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	plain := func(s string) bool {
		return s != "" && len(s) <= 60 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
	}
	name, top, dotted := strings.Cut(domain, ".")
	return ok && dotted && plain(local) && plain(name) && plain(top)
}
