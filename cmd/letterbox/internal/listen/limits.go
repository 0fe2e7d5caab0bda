package listen

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds are what Limits hold connections to; 0 means none.
type Bounds struct {
	Total         int // connections in all
	PerAddress    int // connections from one address
	RatePerMinute int // connections that one address may open within a minute
	// Exempt are free of the bounds for an address, not of Total: Exempt where the address is the connection's own,
	// ExemptProxied where a PROXY header gave it.
	Exempt, ExemptProxied []netip.Prefix
}

// Limits counts connections in all and by address. It may be shared by any number of listeners.
type Limits struct {
	mu     sync.Mutex
	bounds Bounds
	open   int
	byPeer map[netip.Prefix]int // at most as many as are open
	rate   rate
}

// NewLimits returns Limits as Set sets them.
func NewLimits(b Bounds) *Limits {
	return &Limits{bounds: b, byPeer: map[netip.Prefix]int{}, rate: newRate()}
}

// Set replaces the bounds. Connections that are open stay and count. An IPv6 address counts as its /64, which is what one
// customer has.
func (l *Limits) Set(b Bounds) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bounds = b
}

// Open returns how many admitted connections there are now.
func (l *Limits) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// place is one connection's room within Limits. Its goroutine owns it.
type place struct {
	limits *Limits
	key    netip.Prefix // valid once it counts for its address
}

// enter counts a connection in, or says that there are too many in all. The place is left once.
func (l *Limits) enter() (*place, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bounds.Total > 0 && l.open >= l.bounds.Total {
		return nil, false
	}
	l.open++
	return &place{limits: l}, true
}

// claim counts the place for an address, or says that this address has too many or opens them too fast. It is called at
// most once. proxied says that a PROXY header gave the address.
func (p *place) claim(peer netip.Addr, proxied bool) bool {
	key := block(peer)
	if !key.IsValid() {
		return true
	}
	l := p.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.bounds.exempts(peer, proxied) {
		if n := l.bounds.PerAddress; n > 0 && l.byPeer[key] >= n {
			return false
		}
		if n := l.bounds.RatePerMinute; n > 0 && !l.rate.allow(key, n, time.Now()) {
			return false
		}
	}
	p.key = key
	l.byPeer[key]++
	return true
}

func (p *place) leave() {
	l := p.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if !p.key.IsValid() {
		return
	}
	if l.byPeer[p.key]--; l.byPeer[p.key] == 0 {
		delete(l.byPeer, p.key)
	}
}

func (b *Bounds) exempts(peer netip.Addr, proxied bool) bool {
	if proxied {
		return within(b.ExemptProxied, peer)
	}
	return within(b.Exempt, peer)
}

// within tells whether one of the networks holds the address.
func within(networks []netip.Prefix, peer netip.Addr) bool {
	peer = peer.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// LocalNetworks returns the loopback, private and link-local ones: addresses that clients behind one NAT or container's
// bridge share.
func LocalNetworks() []netip.Prefix {
	var networks []netip.Prefix
	for _, s := range []string{
		"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10",
	} {
		networks = append(networks, netip.MustParsePrefix(s))
	}
	return networks
}

// block is what counts as one address: an IPv4 address, or the /64 of an IPv6 one. It is invalid where there is no address.
func block(peer netip.Addr) netip.Prefix {
	peer = peer.Unmap().WithZone("")
	bits := 64
	if peer.Is4() {
		bits = 32
	}
	p, err := peer.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// loopbackPeer returns the other end of a connection over loopback.
func loopbackPeer(c net.Conn) (netip.AddrPort, bool) {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	peer := a.AddrPort()
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	return peer, peer.Addr().IsLoopback()
}

// peerAddr is the address at the other end, invalid for a unix socket.
func peerAddr(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}
