package smtpd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"example.org/letterbox/store"
)

// Resolver is what is asked of the DNS; *net.Resolver is one. Names are given with a final dot, so that no search list
// applies.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// Bounds of the DNS. A session waits for it no longer than this, and the cache holds this much and no more.
const (
	senderPatience  = 5 * time.Second
	reversePatience = 2 * time.Second
	keptVerdicts    = 1000
	verdictLife     = 10 * time.Minute
)

// senderDomains remembers whether mail could be sent back to a domain.
type senderDomains struct {
	resolver Resolver
	now      func() time.Time

	mu    sync.Mutex
	known map[string]verdict // at most keptVerdicts
}

type verdict struct {
	kind  kind
	until time.Time
}

func newSenderDomains(r Resolver) *senderDomains {
	return &senderDomains{resolver: r, now: time.Now, known: make(map[string]verdict)}
}

// check returns what speaks against a reverse-path: its domain does not exist, or says that it takes no mail (RFC 7505), or
// the DNS can't tell now. The null path and address literals have no domain.
func (d *senderDomains) check(ctx context.Context, from string) kind {
	domain := from[strings.LastIndexByte(from, '@')+1:]
	if domain == "" || domain[0] == '[' {
		return noKind
	}
	domain, err := store.ParseDomain(domain)
	if err != nil {
		return noDomain
	}
	if k, ok := d.recall(domain); ok {
		return k
	}
	ctx, cancel := context.WithTimeout(ctx, senderPatience)
	defer cancel()
	k := d.ask(ctx, domain+".")
	if k != domainTrouble {
		d.remember(domain, k)
	}
	return k
}

// ask does what a sender would: look for an MX, and without one for an address (RFC 5321 section 5.1).
func (d *senderDomains) ask(ctx context.Context, name string) kind {
	mx, err := d.resolver.LookupMX(ctx, name)
	switch {
	case len(mx) == 1 && mx[0].Host == ".":
		return nullMX
	case len(mx) > 0: // also beside an error: some of the records were malformed
		return noKind
	case err != nil && !isNotFound(err):
		return domainTrouble
	}
	switch _, err = d.resolver.LookupNetIP(ctx, "ip", name); {
	case err == nil:
		return noKind
	case isNotFound(err):
		return noDomain
	default:
		return domainTrouble
	}
}

func isNotFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

func (d *senderDomains) recall(domain string) (kind, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.known[domain]
	return v.kind, ok && d.now().Before(v.until)
}

// remember keeps a verdict. When there is no room, what has expired goes, or else everything.
func (d *senderDomains) remember(domain string, k kind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if len(d.known) >= keptVerdicts {
		for name, v := range d.known {
			if !now.Before(v.until) {
				delete(d.known, name)
			}
		}
	}
	if len(d.known) >= keptVerdicts {
		clear(d.known)
	}
	d.known[domain] = verdict{kind: k, until: now.Add(verdictLife)}
}

// reverseName returns the name of an address if the name has that address too, else nothing: whoever owns an address may
// give it any name.
func reverseName(ctx context.Context, r Resolver, peer netip.Addr) string {
	if !peer.IsValid() {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, reversePatience)
	defer cancel()
	names, err := r.LookupAddr(ctx, peer.WithZone("").String())
	if err != nil || len(names) == 0 {
		return ""
	}
	name, err := store.ParseDomain(names[0])
	if err != nil {
		return ""
	}
	addresses, err := r.LookupNetIP(ctx, "ip", name+".")
	if err != nil {
		return ""
	}
	for _, a := range addresses {
		if a.Unmap() == peer.WithZone("") {
			return name
		}
	}
	return ""
}
