package listen

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Handler is what a daemon does with a connection. Both methods block until they are done with it, and close it.
type Handler interface {
	Handle(c net.Conn)
	// Busy tells the client to come back later.
	Busy(c net.Conn)
}

// AcceptWatcher is a Handler that wants to know of errors of Accept: it is called once for each spell of them, from the
// accept loop.
type AcceptWatcher interface {
	AcceptFailed(err error)
}

// ProxyWatcher is a Handler that wants to know of connections that were closed for want of a PROXY header, and why. It is
// called by any number of goroutines and must not block: strangers decide how often.
type ProxyWatcher interface {
	ProxyRefused(peer net.Addr, why error)
}

// CrowdWatcher is a Handler that wants to know that most connections come from one private address. It is called once at
// most, from the accept loop.
type CrowdWatcher interface {
	MostlyFrom(peer netip.Addr)
}

// Insider is a Handler that knows connections of this program's own, its canary's: they take no place within the Limits,
// may send a PROXY header wherever one is wanted, and have a method of their own.
type Insider interface {
	// IsOwn tells whether a connection from this address and port of loopback is our own. It may take a moment.
	IsOwn(peer netip.AddrPort) bool
	// HandleOwn is Handle for such a connection.
	HandleOwn(c net.Conn)
}

// maxAsked bounds the connections of one listener that wait for IsOwn at once. Beyond it none is our own.
const maxAsked = 32

// maxBusy bounds the busy lines that one listener says at once; beyond it a connection is closed without a word.
const maxBusy = 32

// The pause after an error of Accept doubles from the first to the last.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// Serve accepts connections and gives each a goroutine of its own with h, until l is closed: then it returns nil and does
// not wait for the connections. Where lim is not nil, connections beyond it are Busy; where proxy is not nil, each begins
// with a PROXY header, and the address in it is what counts. Accept is never held up by a connection, and tried again after
// errors that pass, such as too many open files; any other error is returned.
func Serve(l net.Listener, h Handler, lim *Limits, proxy *Proxy) error {
	if lim == nil {
		lim = NewLimits(Bounds{})
	}
	d := door{handler: h, limits: lim, proxy: proxy, busy: make(chan struct{}, maxBusy), asked: make(chan struct{}, maxAsked)}
	d.insider, _ = h.(Insider)
	d.crew = newCrew(d.handle)
	defer d.crew.close()
	pause := time.Duration(0)
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			d.open(c)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if !passes(err) {
			return err
		}
		if w, ok := h.(AcceptWatcher); ok && pause == 0 {
			w.AcceptFailed(err)
		}
		pause = min(max(2*pause, firstPause), lastPause)
		time.Sleep(pause)
	}
}

// door is one listener's way from Accept to its handler.
type door struct {
	handler Handler
	insider Insider // the handler, or nil
	limits  *Limits
	proxy   *Proxy
	busy    chan struct{} // a slot for each busy line
	asked   chan struct{} // a slot for each question whose connection it is
	crowd   crowd
	crew    *crew
}

// open takes one connection, without waiting for anything.
func (d *door) open(c net.Conn) {
	if d.proxy == nil {
		d.watch(c)
	}
	if peer, ok := loopbackPeer(c); ok && d.insider != nil {
		select {
		case d.asked <- struct{}{}:
			go d.ask(c, peer)
			return
		default:
		}
	}
	d.enter(c)
}

// ask finds out whether a connection is our own.
func (d *door) ask(c net.Conn, peer netip.AddrPort) {
	own := d.insider.IsOwn(peer)
	<-d.asked
	if !own {
		d.enter(c)
		return
	}
	if d.proxy != nil {
		behind, _, err := d.proxy.terms.Load().accept(c)
		if err != nil {
			d.refuse(c, err)
			return
		}
		c = behind
	}
	d.insider.HandleOwn(c)
}

// enter admits one connection, without waiting for anything.
func (d *door) enter(c net.Conn) {
	var t *terms
	if d.proxy != nil {
		if t = d.proxy.terms.Load(); !t.trusts(c.RemoteAddr()) {
			d.refuse(c, errUntrusted)
			return
		}
	}
	p, ok := d.limits.enter()
	switch {
	case !ok && t != nil:
		c.Close() // a busy line would have to wait for the header
	case !ok:
		d.turnAway(c)
	case t != nil:
		go d.behindProxy(c, p, t)
	case !p.claim(peerAddr(c), false):
		p.leave()
		d.turnAway(c)
	default:
		d.crew.serve(visit{c, p})
	}
}

// behindProxy reads the header, and decides by the address in it.
func (d *door) behindProxy(c net.Conn, p *place, t *terms) {
	behind, proxied, err := t.accept(c)
	switch {
	case err != nil:
		p.leave()
		d.refuse(c, err)
	case !p.claim(peerAddr(behind), proxied):
		p.leave()
		d.turnAway(behind)
	default:
		d.handle(behind, p)
	}
}

func (d *door) handle(c net.Conn, p *place) {
	defer p.leave()
	d.handler.Handle(c)
}

func (d *door) refuse(c net.Conn, why error) {
	if w, ok := d.handler.(ProxyWatcher); ok {
		w.ProxyRefused(c.RemoteAddr(), why)
	}
	c.Close()
}

func (d *door) turnAway(c net.Conn) {
	select {
	case d.busy <- struct{}{}:
		go func() {
			defer func() { <-d.busy }()
			d.handler.Busy(c)
		}()
	default:
		c.Close()
	}
}

func (d *door) watch(c net.Conn) {
	w, ok := d.handler.(CrowdWatcher)
	if !ok {
		return
	}
	if peer, mostly := d.crowd.add(peerAddr(c)); mostly {
		w.MostlyFrom(peer)
	}
}

// passes tells whether an error of Accept may be gone the next time. accept(2) also hands out errors of the network that
// belong to one connection; only those say that the listener itself is no good.
func passes(err error) bool {
	for _, bad := range []error{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP, syscall.EFAULT} {
		if errors.Is(err, bad) {
			return false
		}
	}
	return true
}
