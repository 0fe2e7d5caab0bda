package smtpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// zone is a DNS of a test. A name that is in none of the maps does not exist.
type zone struct {
	mx      map[string][]*net.MX
	address map[string][]netip.Addr
	reverse map[string][]string
	broken  map[string]bool // names that can't be asked for
	silent  bool            // nothing answers
	asked   atomic.Int64
	panics  bool
}

func (z *zone) answer(ctx context.Context, name string) error {
	z.asked.Add(1)
	if z.panics {
		panic("boom")
	}
	if z.silent {
		<-ctx.Done()
		return &net.DNSError{Err: "timeout", Name: name, IsTimeout: true}
	}
	if z.broken[name] {
		return &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	return nil
}

func found[T any](all map[string][]T, name string) ([]T, error) {
	if got := all[name]; len(got) > 0 {
		return got, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (z *zone) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	if err := z.answer(ctx, name); err != nil {
		return nil, err
	}
	return found(z.mx, name)
}

func (z *zone) LookupNetIP(ctx context.Context, _, name string) ([]netip.Addr, error) {
	if err := z.answer(ctx, name); err != nil {
		return nil, err
	}
	return found(z.address, name)
}

func (z *zone) LookupAddr(ctx context.Context, name string) ([]string, error) {
	if err := z.answer(ctx, name); err != nil {
		return nil, err
	}
	return found(z.reverse, name)
}

func testZone() *zone {
	here := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	return &zone{
		mx:      map[string][]*net.MX{"b.test.": {{Host: "mx.b.test."}}, "null.test.": {{Host: "."}}, "xn--bcher-kva.test.": {{Host: "x."}}},
		address: map[string][]netip.Addr{"host.test.": here, "true.test.": here, "false.test.": {netip.MustParseAddr("192.0.2.9")}},
		reverse: map[string][]string{"127.0.0.1": {"true.test."}},
		broken:  map[string]bool{"broken.test.": true},
	}
}

func dnsBench(t *testing.T, p Policy, z *zone) *bench {
	t.Helper()
	return newBenchWith(t, p, Listener{Name: "test"}, func(c *Config) { c.Resolver = z })
}

// TestVerifySenderDomain is RFC 5321 section 5.1 and RFC 7505, from the other side: could mail be sent back?
func TestVerifySenderDomain(t *testing.T) {
	for from, want := range map[string]string{
		"eve@b.test":       "250 ",
		"eve@B.TEST.":      "250 ",
		"eve@host.test":    "250 ", // no MX, but an address
		"":                 "250 ",
		"eve@[192.0.2.1]":  "250 ",
		"eve@null.test":    "550 5.7.27 ",
		"eve@nowhere.test": "550 5.1.8 ",
		"eve@-":            "550 5.1.8 ",
		"eve@broken.test":  "451 4.4.3 ",
	} {
		t.Run(from, func(t *testing.T) {
			b := dnsBench(t, Policy{VerifySenderDomain: true}, testZone())
			b.hello().do("MAIL FROM:<"+from+">", want)
		})
	}
	b := dnsBench(t, Policy{VerifySenderDomain: true}, testZone())
	b.hello().do("MAIL FROM:<eve@b\u00fccher.test> SMTPUTF8", "250 ")
	z := testZone()
	off := dnsBench(t, Policy{}, z)
	off.hello().do("MAIL FROM:<eve@nowhere.test>", "250 ")
	if n := z.asked.Load(); n != 0 {
		t.Errorf("%d questions though the policy has none", n)
	}
}

// TestSenderDomainsAreRemembered, what is certain of them, for a while, and no more of them than there is room for.
func TestSenderDomainsAreRemembered(t *testing.T) {
	z := testZone()
	d := newSenderDomains(z)
	now := time.Now()
	d.now = func() time.Time { return now }
	ask := func(from string, want kind, questions int64) {
		t.Helper()
		before := z.asked.Load()
		if got := d.check(t.Context(), from); got != want || z.asked.Load()-before != questions {
			t.Errorf("%s: %d with %d questions", from, got, z.asked.Load()-before)
		}
	}
	ask("a@b.test", noKind, 1)
	ask("b@B.test.", noKind, 0)
	ask("a@nowhere.test", noDomain, 2)
	ask("a@nowhere.test", noDomain, 0)
	ask("a@broken.test", domainTrouble, 1)
	ask("a@broken.test", domainTrouble, 1)
	now = now.Add(verdictLife)
	ask("a@b.test", noKind, 1)
	for i := range 3 * keptVerdicts {
		d.check(t.Context(), fmt.Sprintf("a@x%d.test", i))
		if len(d.known) > keptVerdicts {
			t.Fatal(len(d.known))
		}
	}
}

// TestSilentDNS holds up one session for a bounded time, and no other; and a stop does not wait for it.
func TestSilentDNS(t *testing.T) {
	z := testZone()
	z.silent = true
	b := dnsBench(t, Policy{VerifySenderDomain: true}, z)
	c, other := b.hello(), b.hello()
	c.send("MAIL FROM:<eve@b.test>\r\n")
	other.do("NOOP", "250 ")
	for z.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	before := time.Now()
	if err := b.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(before); took > 2*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

// TestReverseDNS stands in the trace only if the name has the address too.
func TestReverseDNS(t *testing.T) {
	for name, tt := range map[string]struct {
		names []string
		want  string
	}{
		"confirmed":      {[]string{"true.test."}, "Received: from client.test (true.test [127.0.0.1])\r\n"},
		"not confirmed":  {[]string{"false.test."}, "Received: from client.test ([127.0.0.1])\r\n"},
		"no such name":   {[]string{"nowhere.test."}, "Received: from client.test ([127.0.0.1])\r\n"},
		"no name":        {nil, "Received: from client.test ([127.0.0.1])\r\n"},
		"not a name":     {[]string{"x)\r\n y."}, "Received: from client.test ([127.0.0.1])\r\n"},
		"broken forward": {[]string{"broken.test."}, "Received: from client.test ([127.0.0.1])\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			z := testZone()
			z.reverse["127.0.0.1"] = tt.names
			b := dnsBench(t, Policy{ReverseDNS: true}, z)
			c := b.hello()
			for range 2 {
				c.envelope()
				c.do("DATA", "354 ")
				c.send("a: b\r\n.\r\n")
				c.want("250 ")
			}
			if got := string(b.store.all()[1].final.Trace); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q", got)
			}
			if n := z.asked.Load(); n > 2 {
				t.Errorf("asked %d times for one session", n)
			}
		})
	}
}

// TestResolverPanics is one more callback: its session ends, and others go on.
func TestResolverPanics(t *testing.T) {
	for _, p := range []Policy{{VerifySenderDomain: true}, {ReverseDNS: true}} {
		z := testZone()
		z.panics = true
		b := dnsBench(t, p, z)
		c, other := b.hello(), b.hello()
		c.do("MAIL FROM:<eve@b.test>", "421 4.3.0 ")
		c.want("(closed)")
		b.ended(endPanic)
		other.do("NOOP", "250 ")
	}
}
