package store

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of RFC 5321 section 4.5.3.1, in octets.
const (
	maxLocal  = 64
	maxDomain = 255
)

// Address is a mailbox in the form in which the store compares it: the local part in lower case, the domain in lower case
// as A-labels (RFC 5891) and without a trailing dot.
type Address struct {
	Local, Domain string
}

// String returns local@domain, and @domain where there is no local part.
func (a Address) String() string { return a.Local + "@" + a.Domain }

// Untagged returns the address as text and, where the local part has a +tag, without it too.
func (a Address) Untagged() []string {
	names := []string{a.String()}
	if name, _, tagged := strings.Cut(a.Local, "+"); tagged && name != "" {
		names = append(names, name+"@"+a.Domain)
	}
	return names
}

// ParseAddress splits s at its last @ and returns the canonical form. The local part may be anything printable, since
// senders write what they like; AccountAddress says which of them may name an account.
func ParseAddress(s string) (Address, error) {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return Address{}, errors.New("has no @: write local@domain")
	}
	local := s[:at]
	switch {
	case local == "":
		return Address{}, errors.New("has nothing before the @")
	case len(local) > maxLocal:
		return Address{}, fmt.Errorf("has a local part of %d octets; %d are allowed", len(local), maxLocal)
	case !utf8.ValidString(local) || strings.ContainsFunc(local, isControl):
		return Address{}, errors.New("has a character in the local part that can't be printed")
	}
	domain, err := ParseDomain(s[at+1:])
	if err != nil {
		return Address{}, err
	}
	return Address{Local: strings.ToLower(local), Domain: domain}, nil
}

// ParseNetwork reads a network in CIDR notation, or one address as the network that holds nothing else. A network of IPv4
// addresses within IPv6 becomes the IPv4 one.
func ParseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if addr, single := netip.ParseAddr(s); single == nil {
		p, err = addr.WithZone("").Prefix(addr.BitLen())
	}
	if err != nil {
		return netip.Prefix{}, errors.New("is no network: write 192.0.2.0/24, 2001:db8::/32 or one address")
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f || (0x80 <= r && r < 0xa0) }

// ParseDomain returns the canonical form of a domain name.
func ParseDomain(s string) (string, error) {
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return "", errors.New("has no domain")
	}
	if len(s) > maxDomain {
		return "", fmt.Errorf("has a domain of %d octets; %d are allowed", len(s), maxDomain)
	}
	if plainDomain(s) {
		return strings.ToLower(s), nil
	}
	ascii, err := idna.Lookup.ToASCII(s)
	ascii = strings.TrimSuffix(ascii, ".") // the full stop of another script is one too
	if err != nil || ascii == "" || strings.HasPrefix(ascii, ".") || strings.Contains(ascii, "..") || len(ascii) > maxDomain {
		return "", errors.New("has a domain that is no domain name")
	}
	return ascii, nil
}

// plainDomain tells whether s is a sequence of ASCII labels, the usual case, which needs no tables.
func plainDomain(s string) bool {
	label := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
			label++
		case c == '-' && label > 0 && i+1 < len(s) && s[i+1] != '.':
			// xn-- labels go through IDNA, which checks them.
			if label == 2 && (s[i-2] == 'x' || s[i-2] == 'X') && s[i+1] == '-' {
				return false
			}
			label++
		case c == '.' && label > 0:
			label = 0
			continue
		default:
			return false
		}
		if label > 63 {
			return false
		}
	}
	return label > 0
}

// reserved are the characters that no account's local part holds: they are kept for tags, views and routes.
const reserved = "+/%!\" \\<>()[]:;,@"

// AccountAddress is ParseAddress for a name that an account, an alias or a target may have: it also refuses the characters
// that are kept for tags and views.
func AccountAddress(s string) (Address, error) {
	a, err := ParseAddress(s)
	if err != nil {
		return a, err
	}
	if i := strings.IndexAny(a.Local, reserved); i >= 0 {
		return Address{}, fmt.Errorf("has %q before the @, which is kept for tags and views", a.Local[i])
	}
	if strings.HasPrefix(a.Local, ".") || strings.HasSuffix(a.Local, ".") || strings.Contains(a.Local, "..") {
		return Address{}, errors.New("has a dot in the wrong place before the @")
	}
	return a, nil
}
