package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/listen"
	"example.org/letterbox/store"
)

// value is one key's place in a Config: it reads texts into it and prints them back. A scalar reads and prints exactly one
// text.
type value interface {
	kind() string // the word in the reference
	list() bool
	set(items []string, base string) error // base is the folder that relative paths start from
	text() []string
}

type textValue struct {
	at    *string
	check func(string) (string, error) // returns the canonical form; nil takes anything
}

func (v textValue) kind() string   { return "text" }
func (v textValue) list() bool     { return false }
func (v textValue) text() []string { return []string{*v.at} }
func (v textValue) set(items []string, _ string) (err error) {
	if v.check == nil {
		*v.at = items[0]
		return nil
	}
	*v.at, err = v.check(items[0])
	return err
}

type pathValue struct{ at *string }

func (v pathValue) kind() string   { return "path" }
func (v pathValue) list() bool     { return false }
func (v pathValue) text() []string { return []string{*v.at} }
func (v pathValue) set(items []string, base string) error {
	*v.at = items[0]
	if items[0] != "" && base != "" && !filepath.IsAbs(items[0]) {
		*v.at = filepath.Join(base, items[0])
	}
	return nil
}

type numberValue struct {
	at       *int
	min, max int
}

func (v numberValue) kind() string   { return "number" }
func (v numberValue) list() bool     { return false }
func (v numberValue) text() []string { return []string{strconv.Itoa(*v.at)} }
func (v numberValue) set(items []string, _ string) error {
	n, err := strconv.Atoi(items[0])
	switch {
	case err != nil:
		return fmt.Errorf("%q is no whole number", items[0])
	case n < v.min || n > v.max:
		return fmt.Errorf("%d is not between %d and %d", n, v.min, v.max)
	}
	*v.at = n
	return nil
}

type sizeValue struct {
	at       *int64
	min, max int64
}

func (v sizeValue) kind() string   { return "size" }
func (v sizeValue) list() bool     { return false }
func (v sizeValue) text() []string { return []string{FormatSize(*v.at)} }
func (v sizeValue) set(items []string, _ string) error {
	n, err := ParseSize(items[0])
	switch {
	case err != nil:
		return err
	case n < v.min || n > v.max:
		return fmt.Errorf("%s is not between %s and %s", items[0], FormatSize(v.min), FormatSize(v.max))
	}
	*v.at = n
	return nil
}

type durationValue struct {
	at       *time.Duration
	min, max time.Duration
}

func (v durationValue) kind() string   { return "duration" }
func (v durationValue) list() bool     { return false }
func (v durationValue) text() []string { return []string{FormatDuration(*v.at)} }
func (v durationValue) set(items []string, _ string) error {
	d, err := ParseDuration(items[0])
	switch {
	case err != nil:
		return err
	case d < v.min || d > v.max:
		return fmt.Errorf("%s is not between %s and %s", items[0], FormatDuration(v.min), FormatDuration(v.max))
	}
	*v.at = d
	return nil
}

// off as the only item of a list of addresses stands for none.
const off = "off"

type addressesValue struct {
	at   *[]listen.Address
	bare bool // the addresses take no words
}

func (v addressesValue) kind() string { return "addresses" }
func (v addressesValue) list() bool   { return true }
func (v addressesValue) text() []string {
	if len(*v.at) == 0 {
		return []string{off}
	}
	texts := make([]string, len(*v.at))
	for i, a := range *v.at {
		texts[i] = a.String()
	}
	return texts
}

func (v addressesValue) set(items []string, _ string) error {
	*v.at = nil
	if len(items) == 1 && strings.TrimSpace(items[0]) == off {
		return nil
	}
	for _, item := range items {
		if strings.TrimSpace(item) == off {
			return fmt.Errorf("%q stands for no address and can't stand beside others", off)
		}
		a, err := listen.Parse(item)
		if err != nil {
			return err
		}
		if err := v.words(a); err != nil {
			return err
		}
		*v.at = append(*v.at, a)
	}
	return nil
}

// words refuses the words behind an address that can't stand there.
func (v addressesValue) words(a listen.Address) error {
	for _, w := range []struct {
		name string
		set  bool
	}{{"tls", a.TLS}, {"proxy", a.Proxy}, {"tls-in-front", a.TLSInFront}} {
		if w.set && v.bare {
			return fmt.Errorf("address %q has the word %s, but HTTP is served here in clear text: leave the word out", a, w.name)
		}
	}
	return nil
}

type domainsValue struct{ at *[]string }

func (v domainsValue) kind() string   { return "domains" }
func (v domainsValue) list() bool     { return true }
func (v domainsValue) text() []string { return *v.at }
func (v domainsValue) set(items []string, _ string) error {
	*v.at = nil
	for _, item := range items {
		d, err := store.ParseDomain(item)
		if err != nil {
			return fmt.Errorf("%q %w", item, err)
		}
		if !slices.Contains(*v.at, d) {
			*v.at = append(*v.at, d)
		}
	}
	return nil
}

type networksValue struct{ at *[]netip.Prefix }

func (v networksValue) kind() string { return "networks" }
func (v networksValue) list() bool   { return true }
func (v networksValue) text() []string {
	var texts []string
	for _, p := range *v.at {
		texts = append(texts, p.String())
	}
	return texts
}

// set reads networks and single addresses.
func (v networksValue) set(items []string, _ string) error {
	*v.at = nil
	for _, item := range items {
		p, err := store.ParseNetwork(item)
		if err != nil {
			return fmt.Errorf("%q %w", item, err)
		}
		*v.at = append(*v.at, p)
	}
	return nil
}

// wordLocal stands among the networks of exemptValue for those that clients behind one NAT share.
const wordLocal = "local"

// exemptValue keeps two lists: what is exempt where an address is the connection's own, and what is where a PROXY header gave
// it. The word local adds to the first alone.
type exemptValue struct {
	own     *[]netip.Prefix
	proxied *[]netip.Prefix
}

func (v exemptValue) kind() string { return "networks" }
func (v exemptValue) list() bool   { return true }
func (v exemptValue) text() []string {
	texts := networksValue{v.proxied}.text()
	if len(*v.own) > len(*v.proxied) {
		texts = append([]string{wordLocal}, texts...)
	}
	return texts
}

func (v exemptValue) set(items []string, _ string) error {
	listed := slices.DeleteFunc(slices.Clone(items), func(s string) bool { return s == wordLocal })
	if err := (networksValue{v.proxied}).set(listed, ""); err != nil {
		return err
	}
	*v.own = slices.Clone(*v.proxied)
	if len(listed) < len(items) {
		*v.own = append(*v.own, listen.LocalNetworks()...)
	}
	return nil
}

type accountsValue struct{ at *[]NewAccount }

func (v accountsValue) kind() string { return "accounts" }
func (v accountsValue) list() bool   { return true }

// text leaves the passwords out: what it returns is printed by config show.
func (v accountsValue) text() []string {
	var texts []string
	for _, a := range *v.at {
		if a.Password != "" {
			texts = append(texts, a.Address+":(hidden)")
			continue
		}
		texts = append(texts, a.Address)
	}
	return texts
}

// set reads ADDRESS[:PASSWORD]. No error quotes an item: one that can't be read may be a password, or the part of one that
// stood behind a comma.
func (v accountsValue) set(items []string, _ string) error {
	*v.at = nil
	for i, item := range items {
		name, password, given := strings.Cut(item, ":")
		a, err := store.AccountAddress(name)
		if err != nil {
			return fmt.Errorf("item %d is no account: write ADDRESS or ADDRESS:PASSWORD, for instance me@example.org", i+1)
		}
		if given && password == "" {
			return fmt.Errorf("item %d has nothing behind the colon: leave the colon out and a password is generated", i+1)
		}
		*v.at = append(*v.at, NewAccount{Address: a.String(), Password: password})
	}
	return nil
}

// hostname takes a domain name or an address literal (RFC 5321 section 4.1.3), since both may stand in a greeting.
func hostname(s string) (string, error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(strings.TrimPrefix(inner, "IPv6:"))
		if !ok || err != nil {
			return "", fmt.Errorf("%q is no address literal: write [192.0.2.1] or [IPv6:2001:db8::1]", s)
		}
		if addr.Is6() {
			return "[IPv6:" + addr.String() + "]", nil
		}
		return "[" + addr.String() + "]", nil
	}
	if net.ParseIP(s) != nil {
		return "", fmt.Errorf("%q is an address: a host name or [%s] can stand here", s, s)
	}
	d, err := store.ParseDomain(s)
	if err != nil {
		return "", fmt.Errorf("%q %w", s, err)
	}
	return d, nil
}
