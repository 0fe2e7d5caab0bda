package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"example.org/letterbox/cmd/letterbox/internal/listen"
	"example.org/letterbox/cmd/letterbox/internal/probe"
	"example.org/letterbox/metrics"
	"example.org/letterbox/pop3d"
	"example.org/letterbox/smtpd"
	"example.org/letterbox/store/storesock"
)

// The permissions of the sockets. Deliver and pickup may be given to a group, in which a daemon of another user is.
const (
	ownerMode fs.FileMode = 0o600
	groupMode fs.FileMode = 0o660
)

// openSocket returns the socket that the service manager hands over under this name, else makes one at path.
func openSocket(name, path string, mode fs.FileMode) (net.Listener, error) {
	if l, err := listen.Inherited(name); l != nil || err != nil {
		return l, err
	}
	l, err := storesock.ListenUnix(path, mode)
	if err != nil {
		return nil, &InputError{err.Error(), err}
	}
	return l, nil
}

// serveSocket opens one of the store's sockets and serves it until the process stops: then what is under way there is waited
// for, since it needs the store, which is closed later.
func (s *process) serveSocket(name, path string, mode fs.FileMode, serve func(context.Context, net.Listener) error) error {
	l, err := openSocket(name, path, mode)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.defers(func(context.Context) error {
		cancel()
		<-done
		return closeListener(l)
	})
	s.tasks.Go(func() {
		defer close(done)
		if err := serve(ctx, l); err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("%s socket: %w", name, err))
		}
	})
	return nil
}

func (s *process) openAdmin(context.Context) error {
	err := s.serveSocket("admin", adminSocket(s.run), ownerMode, func(ctx context.Context, l net.Listener) error {
		return storesock.ServeAdmin(ctx, l, owner{s.store, s.canary}, s.log)
	})
	if err == nil {
		s.keepClaim()
	}
	return err
}

func (s *process) openDeliver(context.Context) error {
	return s.serveSocket("deliver", deliverSocket(s.run), groupMode, func(ctx context.Context, l net.Listener) error {
		return storesock.ServeDeliver(ctx, l, s.store, s.log)
	})
}

func (s *process) openPickup(context.Context) error {
	return s.serveSocket("pickup", pickupSocket(s.run), groupMode, func(ctx context.Context, l net.Listener) error {
		return storesock.ServePickup(ctx, l, s.store, s.log)
	})
}

// reachDeliverer makes the way to the store. It is dialled at the first call and again after each loss.
func (s *process) reachDeliverer(context.Context) error {
	d := storesock.NewDeliverer(deliverSocket(s.run))
	s.deliverer, s.ping = d, d.Ping
	s.defers(func(context.Context) error { return d.Close() })
	return nil
}

func (s *process) reachPickup(context.Context) error {
	p := storesock.NewPickup(pickupSocket(s.run))
	s.pickup, s.ping = p, p.Ping
	s.defers(func(context.Context) error { return p.Close() })
	return nil
}

// makeMetrics makes the instruments of what this role holds. Series of the store come from its owner only.
func (s *process) makeMetrics(context.Context) error {
	if err := CheckWeb(s.Config); err != nil {
		return &InputError{err.Error(), err}
	}
	var smtp, pop3 map[string][]string
	if s.Role.holds(SMTPD) {
		smtp = smtpd.LabelValues()
	}
	if s.Role.holds(POP3D) {
		pop3 = pop3d.LabelValues()
	}
	s.metrics = metrics.New(string(s.Role), s.Version, smtp, pop3)
	if s.store != nil {
		s.metrics.Store(s.store.Stats)
		s.metrics.AddTimes(s.times)
		s.canary = newCanary(s.Config, s.store, s.metrics.Canary(probe.Steps()), s.log)
		if s.Config.Metrics.PerAccount {
			s.metrics.Accounts(s.store.Waiting)
		}
	}
	return nil
}

// openHealth opens the socket that `letterbox health` asks. A daemon that may write nowhere and is handed none goes on
// without: its service manager has the watchdog.
func (s *process) openHealth(context.Context) error {
	l, err := openSocket("health", HealthSocket(s.run, s.Role), ownerMode)
	for _, denied := range []error{fs.ErrPermission, syscall.EROFS, fs.ErrNotExist} {
		if err != nil && s.store == nil && errors.Is(err, denied) {
			s.log.Warn().Str("reason", err.Error()).Msg("no health socket")
			return nil
		}
	}
	if err != nil {
		return err
	}
	s.serveHTTP(l, false)
	return nil
}
