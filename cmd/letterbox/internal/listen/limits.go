package listen

import (
	"net"
	"net/netip"
	"sync"
)

// Limits counts connections in all and by address. It may be shared by any number of listeners.
type Limits struct {
	mu         sync.Mutex
	total      int
	perAddress int
	exempt     []netip.Prefix

	open   int
	byPeer map[netip.Prefix]int
}

// NewLimits returns Limits as Set sets them.
func NewLimits(total, perAddress int, exempt []netip.Prefix) *Limits {
	l := &Limits{byPeer: map[netip.Prefix]int{}}
	l.Set(total, perAddress, exempt)
	return l
}

// Set replaces the limits; 0 means none. Connections that are open stay and count. An address in exempt is free of
// perAddress, not of total. An IPv6 address counts as its /64, which is what one customer has.
func (l *Limits) Set(total, perAddress int, exempt []netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total, l.perAddress, l.exempt = total, perAddress, exempt
}

// Open returns how many admitted connections there are now.
func (l *Limits) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// admit counts a connection from that address in, or says that there are too many. release counts it out and is called
// once.
func (l *Limits) admit(peer netip.Addr) (release func(), ok bool) {
	key := block(peer)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total > 0 && l.open >= l.total {
		return nil, false
	}
	if key.IsValid() && l.perAddress > 0 && l.byPeer[key] >= l.perAddress && !l.isExempt(peer.Unmap()) {
		return nil, false
	}
	l.open++
	if key.IsValid() {
		l.byPeer[key]++
	}
	return func() { l.release(key) }, true
}

func (l *Limits) release(key netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if !key.IsValid() {
		return
	}
	if l.byPeer[key]--; l.byPeer[key] == 0 {
		delete(l.byPeer, key)
	}
}

func (l *Limits) isExempt(peer netip.Addr) bool {
	for _, p := range l.exempt {
		if p.Contains(peer.WithZone("")) {
			return true
		}
	}
	return false
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

// peerAddr is the address at the other end, invalid for a unix socket.
func peerAddr(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}
