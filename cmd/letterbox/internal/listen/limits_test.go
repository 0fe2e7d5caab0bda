package listen

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func networks(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

// crowded is Limits under test and the places that it gave.
type crowded struct {
	*testing.T
	*Limits
	places []*place
}

// admit wants a connection from that address to be admitted or not.
func (c *crowded) admit(peer string, proxied, want bool) {
	c.Helper()
	var a netip.Addr
	if peer != "" {
		a = netip.MustParseAddr(peer)
	}
	p, ok := c.enter()
	if ok && !p.claim(a, proxied) {
		p.leave()
		ok = false
	}
	if ok != want {
		c.Errorf("%q, proxied %v: admitted %v", peer, proxied, ok)
	}
	if ok {
		c.places = append(c.places, p)
	}
}

// empty leaves every place and wants nothing to be left of them.
func (c *crowded) empty() {
	c.Helper()
	for _, p := range c.places {
		p.leave()
	}
	c.places = nil
	if c.Open() != 0 || len(c.byPeer) != 0 {
		c.Errorf("%d open, %v", c.Open(), c.byPeer)
	}
}

func TestLimits(t *testing.T) {
	c := &crowded{T: t, Limits: NewLimits(Bounds{Total: 6, PerAddress: 2, Exempt: networks("10.0.0.0/8", "fe80::/10")})}
	c.admit("192.0.2.1", false, true)
	c.admit("::ffff:192.0.2.1", false, true) // the same, seen by a listener for both
	c.admit("192.0.2.1", false, false)
	c.admit("192.0.2.2", false, true)
	c.admit("2001:db8::1", false, true)
	c.admit("2001:db8::ffff:1", false, true) // the same /64
	c.admit("2001:db8::2", false, false)
	c.admit("2001:db8:0:1::1", false, true)
	c.admit("203.0.113.9", false, false) // in all
	c.empty()
	for range 3 {
		c.admit("10.1.2.3", false, true)
		c.admit("fe80::1%eth0", false, true)
	}
	c.admit("", false, false) // exempt ones count in all
	c.Set(Bounds{PerAddress: 1})
	for range 3 {
		c.admit("", false, true) // a unix socket has no address to be counted by
	}
	c.admit("10.1.2.3", false, false)
	c.empty()
}

// An address that a PROXY header gave is exempt only where the operator listed it.
func TestLimitsProxied(t *testing.T) {
	c := &crowded{T: t, Limits: NewLimits(Bounds{
		PerAddress: 1, Exempt: networks("10.0.0.0/8", "192.0.2.0/24"), ExemptProxied: networks("192.0.2.0/24"),
	})}
	c.admit("10.1.2.3", true, true)
	c.admit("10.1.2.3", true, false)
	c.admit("10.1.2.3", false, true) // the proxy itself, or a neighbour
	c.admit("192.0.2.7", true, true)
	c.admit("192.0.2.7", true, true)
	c.empty()
}

// An address may open a minute's worth at once and then as many as its rate gives back; refusals cost it nothing.
func TestLimitsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowded{T: t, Limits: NewLimits(Bounds{RatePerMinute: 6, Exempt: networks("10.0.0.0/8")})}
		for range 6 {
			c.admit("192.0.2.1", false, true)
		}
		for range 20 {
			c.admit("192.0.2.1", false, false)
		}
		c.admit("192.0.2.2", false, true)
		time.Sleep(10 * time.Second)
		c.admit("192.0.2.1", false, true)
		c.admit("192.0.2.1", false, false)
		time.Sleep(time.Hour)
		for range 6 {
			c.admit("192.0.2.1", false, true)
		}
		c.admit("192.0.2.1", false, false)
		for range 20 {
			c.admit("10.0.0.1", false, true)
		}
		c.empty()
	})
}

// What the rate remembers is bounded, and comes back when the addresses have been quiet.
func TestRateIsBounded(t *testing.T) {
	r, now := newRate(), time.Unix(1e9, 0)
	nth := func(i int) netip.Prefix {
		return block(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	for i := range maxTracked + 100 {
		if !r.allow(nth(i), 1, now) {
			t.Fatalf("address %d is refused", i)
		}
	}
	if len(r.full) != maxTracked {
		t.Errorf("%d addresses are remembered", len(r.full))
	}
	if r.allow(nth(0), 1, now) {
		t.Error("an address that is remembered is not held to its rate any more")
	}
	now = now.Add(2 * time.Minute)
	if !r.allow(nth(1<<20), 1, now) || len(r.full) != 1 {
		t.Errorf("%d addresses are remembered later", len(r.full))
	}
}

func TestCrowd(t *testing.T) {
	tell := func(c *crowd, n int, peer func(i int) string) (told []netip.Addr) {
		for i := range n {
			if a, ok := c.add(netip.MustParseAddr(peer(i))); ok {
				told = append(told, a)
			}
		}
		return told
	}
	mixed := func(often string, share int) func(int) string {
		return func(i int) string {
			if i%100 < share {
				return often
			}
			return fmt.Sprintf("192.0.2.%d", i%100)
		}
	}
	var c crowd
	for _, harmless := range []func(int) string{
		mixed("172.17.0.1", 50), mixed("127.0.0.1", 100), mixed("198.51.100.7", 100),
	} {
		if told := tell(&c, 300, harmless); told != nil {
			t.Errorf("told of %v", told)
		}
	}
	if told := tell(&c, 500, mixed("172.17.0.1", 51)); len(told) != 1 || told[0] != netip.MustParseAddr("172.17.0.1") {
		t.Errorf("told of %v, want 172.17.0.1 once", told)
	}
	if len(c.byPeer) != 0 {
		t.Errorf("%d addresses are kept", len(c.byPeer))
	}
}
