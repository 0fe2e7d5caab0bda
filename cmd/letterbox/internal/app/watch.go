package app

import (
	"net"
	"net/netip"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/listen"
)

var (
	_ listen.AcceptWatcher = pop3Handler{}
	_ listen.ProxyWatcher  = pop3Handler{}
	_ listen.CrowdWatcher  = strangersHandler{}
	_ listen.Insider       = strangersHandler{}
	_ listen.Insider       = pop3Handler{}
)

// bounds is what the configuration allows of connections.
func bounds(c *config.Config) listen.Bounds {
	return listen.Bounds{
		Total: c.Limits.MaxConnections, PerAddress: c.Limits.MaxConnectionsPerAddress, RatePerMinute: c.Limits.MaxRatePerAddress,
		Exempt: c.Limits.Exempt, ExemptProxied: c.Limits.ExemptProxied,
	}
}

// watcher logs what a listener has to tell.
type watcher struct{ log zerolog.Logger }

// AcceptFailed logs that connections can't be accepted, for want of file descriptors most likely.
func (w watcher) AcceptFailed(err error) {
	w.log.Error().Err(err).Msg("connections can't be accepted; trying again")
}

// ProxyRefused logs a connection that was closed at an address with the word proxy.
func (w watcher) ProxyRefused(peer net.Addr, why error) {
	remote := "local"
	if a, ok := peer.(*net.TCPAddr); ok {
		remote = a.AddrPort().Addr().Unmap().String()
	}
	w.log.Info().Str("remote", remote).Str("reason", why.Error()).Msg("connection refused")
}

// strangersHandler serves a listener where every sender of the world is expected, and no address of our own network.
type strangersHandler struct{ smtpHandler }

// MostlyFrom logs what hides the senders' addresses, and what to do.
func (h strangersHandler) MostlyFrom(peer netip.Addr) {
	h.log.Warn().Str("remote", peer.String()).Msg("most connections come from one private address: a NAT, a container's bridge or a proxy " +
		"hides the senders' own, so neither limits nor blocks can tell them apart; let the proxy send PROXY headers (the word proxy " +
		"behind the address, its network in [proxy] trusted), or let the container use the host's network")
}
