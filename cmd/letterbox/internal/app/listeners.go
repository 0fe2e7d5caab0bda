package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/listen"
	"example.org/letterbox/pop3d"
	"example.org/letterbox/smtpd"
)

// listener is one open socket and what is spoken there.
type listener struct {
	net.Listener
	name    string // smtp, smtps, lmtp, pop3, pop3s or metrics: a label of the metrics, a word of the log
	address listen.Address
}

// metricsName is the one listener that speaks no mail.
const metricsName = "metrics"

// wanted returns the addresses of the configuration by the name of what is spoken there, in the order of the summary.
func wanted(c *config.Config) []listener {
	var all []listener
	add := func(addresses []listen.Address, plain, tls string) {
		for _, a := range addresses {
			name := plain
			if a.TLS {
				name = tls
			}
			all = append(all, listener{name: name, address: a})
		}
	}
	add(c.SMTP.Listen, "smtp", "smtps")
	add(c.SMTP.LMTP, "lmtp", "lmtps")
	add(c.POP3.Listen, "pop3", "pop3s")
	add(c.Metrics.Listen, metricsName, metricsName)
	return all
}

// openListeners opens every socket and serves none.
func (s *server) openListeners(context.Context) error {
	for _, w := range wanted(s.Config) {
		opened, err := listen.Open(w.address)
		if err != nil {
			return &InputError{w.name + ": " + err.Error(), err}
		}
		for _, l := range opened {
			s.listeners = append(s.listeners, listener{l, w.name, w.address})
			s.defers(func(context.Context) error { return closeListener(l) })
		}
	}
	return nil
}

// closeListener closes l, which may be closed already.
func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *server) makeDaemons(context.Context) error {
	s.smtp = smtpd.New(smtpd.Config{
		Hostname: s.Config.Hostname, Store: s.store, TLS: s.certs.Config(), Log: s.log, Observer: s.metrics.SMTP(),
	}, smtpPolicy(s.Config))
	s.pop3 = pop3d.New(pop3d.Config{
		Hostname: s.Config.Hostname, Store: s.store, TLS: s.certs.Config(), Log: s.log, Observer: s.metrics.POP3(),
		Version: s.Version,
	}, pop3Policy(s.Config))
	return nil
}

// serveAll serves every listener. Its counterpart stops accepting everywhere first and then drains both daemons at once.
func (s *server) serveAll(context.Context) error {
	bound := s.Config.Limits
	s.limits = listen.NewLimits(bound.MaxConnections, bound.MaxConnectionsPerAddress, bound.Exempt)
	for _, l := range s.listeners {
		s.log.Info().Str("listener", l.name).Stringer("addr", l.Addr()).Msg("listening")
		handler := s.handler(l)
		if handler == nil {
			s.serveHTTP(l.Listener)
			continue
		}
		s.tasks.Go(func() {
			if err := listen.Serve(l.Listener, handler, s.limits); err != nil {
				s.fail(fmt.Errorf("%s on %s: %w", l.name, l.Addr(), err))
			}
		})
	}
	// Last, so that it comes first when all is undone: metrics and sockets answer while the daemons drain.
	s.defers(s.drain)
	return nil
}

// drain ends the daemons: nothing new comes in, what is under way is finished, and after drainTime everything is closed.
func (s *server) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	var errs []error
	for _, l := range s.listeners {
		if l.name != metricsName { // it answers until the end
			errs = append(errs, closeListener(l.Listener))
		}
	}
	smtp := make(chan error, 1)
	go func() { smtp <- s.smtp.Shutdown(ctx) }()
	for _, err := range []error{s.pop3.Shutdown(ctx), <-smtp} {
		if errors.Is(err, context.DeadlineExceeded) {
			// Whoever stalls must not make a stop a failure. What had no acknowledgement is the sender's still.
			s.log.Warn().Dur("took", drainTime).Msg("sessions that did not end by themselves were cut")
			err = nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// handler returns what serves the connections of l, nil for the metrics. Its series of the metrics begin at zero here.
func (s *server) handler(l listener) listen.Handler {
	watcher := acceptWatcher{s.log.With().Str("listener", l.name).Logger()}
	switch l.name {
	case "smtp", "smtps", "lmtp", "lmtps":
		s.metrics.SMTP().Listen(l.name)
		lmtp := strings.HasPrefix(l.name, "lmtp")
		return smtpHandler{watcher, s.smtp, smtpd.Listener{Name: l.name, TLS: l.address.TLS, LMTP: lmtp}}
	case "pop3", "pop3s":
		s.metrics.POP3().Listen(l.name)
		return pop3Handler{watcher, s.pop3, pop3d.Listener{Name: l.name, TLS: l.address.TLS, TLSInFront: l.address.TLSInFront}}
	}
	return nil
}

// acceptWatcher logs that connections can't be accepted, for want of file descriptors most likely.
type acceptWatcher struct{ log zerolog.Logger }

func (w acceptWatcher) AcceptFailed(err error) {
	w.log.Error().Err(err).Msg("connections can't be accepted; trying again")
}

type smtpHandler struct {
	acceptWatcher
	server   *smtpd.Server
	listener smtpd.Listener
}

func (h smtpHandler) Handle(c net.Conn) { h.server.Handle(c, h.listener) }
func (h smtpHandler) Busy(c net.Conn)   { h.server.Busy(c, h.listener) }

type pop3Handler struct {
	acceptWatcher
	server   *pop3d.Server
	listener pop3d.Listener
}

func (h pop3Handler) Handle(c net.Conn) { h.server.Handle(c, h.listener) }
func (h pop3Handler) Busy(c net.Conn)   { h.server.Busy(c, h.listener) }
