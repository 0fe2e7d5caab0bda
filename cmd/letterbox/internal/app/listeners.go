package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

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
	key     string // the name under which a supervisor hands it over
}

// metricsName is the one listener that speaks no mail.
const metricsName = "metrics"

// Which sockets are opened. A unix socket belongs to whoever makes it: it is made by who has given up the rights of root.
func everything(listen.Address) bool { return true }
func isUnix(a listen.Address) bool   { return a.Network == "unix" }
func notUnix(a listen.Address) bool  { return !isUnix(a) }

// wanted returns the addresses that a role listens on by the name of what is spoken there, in the order of the summary.
func wanted(c *config.Config, role Role) []listener {
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
	if role.holds(SMTPD) {
		add(c.SMTP.Listen, "smtp", "smtps")
		add(c.SMTP.LMTP, "lmtp", "lmtps")
	}
	if role.holds(POP3D) {
		add(c.POP3.Listen, "pop3", "pop3s")
	}
	web := c.Metrics.Listen
	switch role {
	case SMTPD:
		web = c.Metrics.SMTPD
	case POP3D:
		web = c.Metrics.POP3D
	}
	add(web, metricsName, metricsName)
	// The key holds the address too: a process that is started again after the configuration changed finds no socket of
	// another one, and each of its own wherever that stands now. A number tells apart two addresses with port 0.
	twins := map[string]int{}
	for i, l := range all {
		what := fmt.Sprintf("%s %s", l.name, l.address)
		all[i].key = url.QueryEscape(fmt.Sprintf("%s #%d", what, twins[what]))
		twins[what]++
	}
	return all
}

// openWanted opens every socket of a role for which want is true, and serves none. What was opened is returned also with an
// error.
func openWanted(c *config.Config, role Role, want func(listen.Address) bool) (all []listener, err error) {
	for _, w := range wanted(c, role) {
		if !want(w.address) {
			continue
		}
		opened, err := listen.InheritedAll(w.key)
		if err == nil && opened == nil {
			opened, err = listen.Open(w.address)
		}
		if err != nil {
			return all, &InputError{w.name + ": " + err.Error(), err}
		}
		for _, l := range opened {
			all = append(all, listener{l, w.name, w.address, w.key})
		}
	}
	return all, nil
}

func (s *process) openListeners(context.Context) error {
	opened, err := openWanted(s.Config, s.Role, everything)
	for _, l := range opened {
		s.defers(func(context.Context) error { return closeListener(l.Listener) })
	}
	s.listeners = opened
	return err
}

// closeListener closes l, which may be closed already.
func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *process) makeSMTP(context.Context) error {
	s.smtp = smtpd.New(smtpd.Config{
		Hostname: s.Config.Hostname, Store: s.deliverer, TLS: s.certs.Config(), Log: s.plain, Observer: s.metrics.SMTP(),
	}, smtpPolicy(s.Config))
	return nil
}

func (s *process) makePOP3(context.Context) error {
	s.pop3 = pop3d.New(pop3d.Config{
		Hostname: s.Config.Hostname, Store: s.pickup, TLS: s.certs.Config(), Log: s.plain, Observer: s.metrics.POP3(),
		Version: s.Version,
	}, pop3Policy(s.Config))
	return nil
}

// serveAll serves every listener. Its counterpart stops accepting everywhere first and then drains both daemons at once.
func (s *process) serveAll(context.Context) error {
	s.limits = listen.NewLimits(bounds(s.Config))
	s.proxy = listen.NewProxy(s.Config.Proxy.Trusted, s.Config.Proxy.Timeout)
	for _, l := range s.listeners {
		s.log.Info().Str("listener", l.name).Stringer("addr", l.Addr()).Msg("listening")
		handler := s.handler(l)
		if handler == nil {
			s.serveHTTP(l.Listener, true)
			continue
		}
		var proxy *listen.Proxy
		if l.address.Proxy {
			proxy = s.proxy
		}
		s.tasks.Go(func() {
			if err := listen.Serve(l.Listener, handler, s.limits, proxy); err != nil {
				s.fail(fmt.Errorf("%s on %s: %w", l.name, l.Addr(), err))
			}
		})
	}
	// Last, so that it comes first when all is undone: metrics and sockets answer while the daemons drain.
	s.defers(s.drain)
	return nil
}

// drain ends the daemons: nothing new comes in, what is under way is finished, and after drainTime everything is closed.
func (s *process) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	var errs []error
	var names []string
	for _, l := range s.listeners {
		if l.name == metricsName { // it answers until the end
			continue
		}
		errs = append(errs, closeListener(l.Listener))
		if names = append(names, l.key); l.address.Network == "fd" {
			names = append(names, l.address.Text)
		}
	}
	listen.CloseInherited(names...)
	for _, err := range s.shutdown(ctx) {
		if errors.Is(err, context.DeadlineExceeded) {
			// Whoever stalls must not make a stop a failure. What had no acknowledgement is the sender's still.
			s.log.Warn().Dur("took", drainTime).Msg("sessions that did not end by themselves were cut")
			err = nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// shutdown ends those daemons that this process holds, both at once.
func (s *process) shutdown(ctx context.Context) (errs []error) {
	smtp := make(chan error, 1)
	go func() {
		if s.smtp == nil {
			smtp <- nil
			return
		}
		smtp <- s.smtp.Shutdown(ctx)
	}()
	if s.pop3 != nil {
		errs = append(errs, s.pop3.Shutdown(ctx))
	}
	return append(errs, <-smtp)
}

// handler returns what serves the connections of l, nil for the metrics. Its series of the metrics begin at zero here.
func (s *process) handler(l listener) listen.Handler {
	inside := insider{watcher{s.log.With().Str("listener", l.name).Logger()}, s.isCanary}
	switch l.name {
	case "smtp", "smtps", "lmtp", "lmtps":
		s.metrics.SMTP().Listen(l.name)
		lmtp := strings.HasPrefix(l.name, "lmtp")
		h := smtpHandler{inside, s.smtp, smtpd.Listener{Name: l.name, TLS: l.address.TLS, TLSInFront: l.address.TLSInFront, LMTP: lmtp}}
		if lmtp {
			return h
		}
		return strangersHandler{h}
	case "pop3", "pop3s":
		s.metrics.POP3().Listen(l.name)
		return pop3Handler{inside, s.pop3, pop3d.Listener{Name: l.name, TLS: l.address.TLS, TLSInFront: l.address.TLSInFront}}
	}
	return nil
}

type smtpHandler struct {
	insider
	server   *smtpd.Server
	listener smtpd.Listener
}

func (h smtpHandler) Handle(c net.Conn) { h.server.Handle(c, h.listener) }

// HandleOwn serves the canary.
func (h smtpHandler) HandleOwn(c net.Conn) {
	l := h.listener
	l.Quiet = true
	h.server.Handle(c, l)
}

func (h smtpHandler) Busy(c net.Conn) { h.server.Busy(c, h.listener) }

type pop3Handler struct {
	insider
	server   *pop3d.Server
	listener pop3d.Listener
}

func (h pop3Handler) Handle(c net.Conn) { h.server.Handle(c, h.listener) }

// HandleOwn serves the canary.
func (h pop3Handler) HandleOwn(c net.Conn) {
	l := h.listener
	l.Quiet = true
	h.server.Handle(c, l)
}

func (h pop3Handler) Busy(c net.Conn) { h.server.Busy(c, h.listener) }
