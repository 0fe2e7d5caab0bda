package listen

import "net/netip"

// crowdSample is how many connections of a listener are looked at together.
const crowdSample = 100

// crowd finds out that most connections come from one private address: then a NAT or a proxy hides the clients' own. It
// holds no more than crowdSample addresses, and the accept loop alone uses it.
type crowd struct {
	seen   int
	byPeer map[netip.Addr]int
	told   bool
}

// add counts one connection, and returns an address when more than half of the sample had it and it is private. It does so
// once. Loopback is no sign: a filter or a mail program on the same machine connects from there.
func (c *crowd) add(peer netip.Addr) (netip.Addr, bool) {
	if c.told || !peer.IsValid() {
		return netip.Addr{}, false
	}
	if c.byPeer == nil {
		c.byPeer = make(map[netip.Addr]int)
	}
	peer = peer.Unmap().WithZone("")
	c.byPeer[peer]++
	if c.seen++; c.seen < crowdSample {
		return netip.Addr{}, false
	}
	for a, n := range c.byPeer {
		if n > crowdSample/2 && (a.IsPrivate() || a.IsLinkLocalUnicast()) {
			*c = crowd{told: true}
			return a, true
		}
	}
	*c = crowd{}
	return netip.Addr{}, false
}
