package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/listen"
	"example.org/letterbox/cmd/letterbox/internal/probe"
	"example.org/letterbox/store"
)

// target is a listener as the canary reaches it.
type target struct {
	hosts    []string // in the order in which they are tried; nil: there is no such listener
	port     string
	security probe.Security
	proxy    bool
}

// String names the first host.
func (t target) String() string {
	if t.hosts == nil {
		return ""
	}
	return net.JoinHostPort(t.hosts[0], t.port)
}

// targetOf returns how to reach what listens at text, a HOST:PORT, with the words of a.
func targetOf(text string, a listen.Address) target {
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "0" {
		return target{}
	}
	t := target{hosts: []string{host}, port: port, security: probe.StartTLS, proxy: a.Proxy}
	ip, _ := netip.ParseAddr(host) //nolint:errcheck // of a name it is the zero Addr
	switch {
	case host == "" || host == "localhost" || ip == netip.IPv6Unspecified():
		t.hosts = []string{"127.0.0.1", "::1"}
	case ip == netip.IPv4Unspecified():
		t.hosts = []string{"127.0.0.1"}
	}
	switch {
	case a.TLS:
		t.security = probe.Implicit
	case a.TLSInFront:
		t.security = probe.Clear
	}
	return t
}

// way is one of the canary's two ends: which listeners serve it, the best first, and where the configuration says otherwise.
type way struct {
	key, plain, tls string
	order           []probe.Security
	given           func(*config.Config) listen.Address
}

func smtpWay() way {
	return way{"canary.smtp", "smtp", "smtps", []probe.Security{probe.StartTLS, probe.Implicit, probe.Clear},
		func(c *config.Config) listen.Address { return c.Canary.SMTP }}
}

func pop3Way() way {
	return way{"canary.pop3", "pop3", "pop3s", []probe.Security{probe.Implicit, probe.StartTLS, probe.Clear},
		func(c *config.Config) listen.Address { return c.Canary.POP3 }}
}

// best returns the best of these listeners, as an address to which one can connect; the zero Address where none has one.
func (w way) best(all []listener) (best listen.Address) {
	rank := len(w.order)
	for _, l := range all {
		a := l.address
		if l.Listener != nil { // it knows its port, also a handed-over one
			a.Network, a.Text = l.Addr().Network(), l.Addr().String()
		}
		if l.name != w.plain && l.name != w.tls || a.Network != "tcp" {
			continue
		}
		t := targetOf(a.Text, a)
		if n := slices.Index(w.order, t.security); t.hosts != nil && n < rank {
			best, rank = a, n
		}
	}
	return best
}

// target returns where the canary of this process goes: as the configuration says, else to a listener of its own, else, where
// the daemons are other processes, to the addresses that the configuration has for them.
func (s *process) target(w way) target {
	a := w.given(s.Config)
	if a == (listen.Address{}) {
		all := s.listeners
		if s.Role == Store {
			all = append(wanted(s.Config, SMTPD), wanted(s.Config, POP3D)...)
		}
		a = w.best(all)
	}
	return targetOf(a.Text, a)
}

// canaryEnv tells the store's process of the sockets that the supervisor opened for the daemons: their flags are not its own,
// and no configuration tells the port that the system chose.
func (s *supervisor) canaryEnv() (env []string) {
	for _, w := range []way{smtpWay(), pop3Way()} {
		if a := w.best(s.opened); a != (listen.Address{}) && w.given(s.Config) == (listen.Address{}) {
			env = append(env, config.Key{Name: w.key}.Env()+"="+a.String())
		}
	}
	return env
}

// dialer connects to a target from loopback, and tells the store of the address and port before the other side can see them.
func (k *canary) dialer(t target) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var errs []error
		for _, host := range t.hosts {
			c, err := k.dial(ctx, network, net.JoinHostPort(host, t.port))
			if err == nil && t.proxy {
				err = c.introduce()
			}
			if err == nil {
				return c, nil
			}
			errs = append(errs, err)
		}
		return nil, errs[0] // the others are other ways to the same listener
	}
}

// ownConn is a connection that the store knows as the canary's until it is closed.
type ownConn struct {
	net.Conn
	done func()
}

func (k *canary) dial(ctx context.Context, network, address string) (*ownConn, error) {
	done := func() {}
	// A name may have several addresses: they are tried one after the other.
	dialer := net.Dialer{FallbackDelay: -1, Control: func(network, _ string, raw syscall.RawConn) error {
		done()
		from, err := bindLoopback(network, raw)
		if err == nil {
			done = k.store.CanaryFrom(from)
		}
		return err
	}}
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		done()
		return nil, err
	}
	return &ownConn{c, done}, nil
}

// introduce sends the PROXY header of a connection that nobody is behind.
func (c *ownConn) introduce() error {
	if err := c.SetWriteDeadline(time.Now().Add(roundPatience)); err != nil {
		return errors.Join(err, c.Close())
	}
	header := proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if _, err := header.WriteTo(c); err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

// Close ends the connection.
func (c *ownConn) Close() error {
	c.done()
	return c.Conn.Close()
}

// bindLoopback gives a socket that is not connected yet a port of loopback.
func bindLoopback(network string, raw syscall.RawConn) (from netip.AddrPort, err error) {
	var at syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if strings.HasSuffix(network, "6") {
		at = &syscall.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}
	}
	controlErr := raw.Control(func(fd uintptr) {
		if err = syscall.Bind(int(fd), at); err != nil {
			return
		}
		at, err = syscall.Getsockname(int(fd))
	})
	switch {
	case controlErr != nil:
		return from, controlErr
	case err != nil:
		return from, fmt.Errorf("no port of loopback: %w", err)
	}
	switch at := at.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port)), nil
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(at.Addr), uint16(at.Port)), nil
	}
	return from, errors.New("no port of loopback")
}

// insider is what the handlers of mail know of the canary.
type insider struct {
	watcher
	own func(peer netip.AddrPort) bool
}

// IsOwn tells whether a connection is the canary's.
func (i insider) IsOwn(peer netip.AddrPort) bool { return i.own(peer) }

// canaryPatience bounds a daemon's question whether a connection is the canary's: while the store is away it is nobody's.
const canaryPatience = 500 * time.Millisecond

// isCanary asks the store, which may be another process's.
func (s *process) isCanary(peer netip.AddrPort) bool {
	var of any = s.deliverer
	if of == nil || s.Role == POP3D {
		of = s.pickup
	}
	watch, ok := of.(store.CanaryWatch)
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), canaryPatience)
	defer cancel()
	own, err := watch.IsCanary(ctx, peer)
	return err == nil && own
}
