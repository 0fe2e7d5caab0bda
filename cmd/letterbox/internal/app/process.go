package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/certs"
	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/listen"
	"example.org/letterbox/metrics"
	"example.org/letterbox/pop3d"
	"example.org/letterbox/smtpd"
	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
)

// The time that a stop may take: 30 s in all, as service managers and container engines are told.
const (
	drainTime = 25 * time.Second // both daemons, together
	closeTime = 4 * time.Second  // everything else, together
)

// Options is what a process needs.
type Options struct {
	Role    Role
	Config  *config.Config
	Version string
	// Reload reads the configuration again; called at each value of Hangup.
	Reload func() (*config.Config, error)
	Hangup <-chan os.Signal
	// Log is where the log goes, in Format (json, console or journald); Out is for what people read once: the summary
	// (with the console format only) and generated passwords.
	Log    io.Writer
	Format string
	Out    io.Writer
}

// Run runs the parts of a role in this process until ctx ends, then drains and closes them; it returns within 30 s of that.
// It fails with an *InputError for what the operator has to mend, and leaves nothing open whatever it returns. A daemon
// whose store is away is not ready, says so to its clients, and goes on.
func Run(ctx context.Context, o Options) error {
	plain, gate := newLog(o.Config.Log, o.Format, o.Log)
	log := plain
	if o.Role != Serve {
		log = plain.With().Str("role", string(o.Role)).Logger()
	}
	ctx, boss := underSupervisor(ctx)
	s := &process{
		Options: o, log: log, plain: plain, gate: gate, notify: notifier{log, boss},
		failed: make(chan error, 1),
	}
	s.domains.Store(&o.Config.SMTP.Domains)
	for _, warning := range o.Config.Warnings {
		log.Warn().Msg(warning)
	}
	err := s.start(ctx)
	if err == nil {
		err = s.wait(ctx)
		s.notify.stopping()
		s.log.Info().Msg("stopping")
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // asked to stop while it started
	}
	return errors.Join(err, s.stop())
}

// process is one role while it runs. Its parts are set by start, in the order of the steps.
type process struct {
	Options
	log    zerolog.Logger
	plain  zerolog.Logger // for the daemons, who name their role themselves
	gate   *levelGate
	notify notifier

	run       string                      // the folder of the sockets
	store     *boltstore.Store            // of the owner alone
	deliverer store.Deliverer             // of the receiver: the store or the way to it
	pickup    store.Pickup                // of the POP3 daemon, likewise
	ping      func(context.Context) error // asks for the store behind these two; nil where it is ours
	certs     *certs.Store                // nil where nobody speaks TLS
	metrics   *metrics.Metrics
	times     *metrics.Times // of the owner alone
	canary    *canary        // likewise
	backups   *backups       // likewise
	smtp      *smtpd.Server
	pop3      *pop3d.Server
	listeners []listener
	limits    *listen.Limits
	proxy     *listen.Proxy

	domains atomic.Pointer[[]string] // smtp.domains as last loaded

	up     atomic.Bool // every listener is served
	failed chan error  // the first part that ended by itself
	tasks  sync.WaitGroup
	undo   []func(context.Context) error // one for each thing that is open, in the order of opening
}

// start opens everything, in an order in which each step needs only what stands before it, and serves no listener before
// all are open. What was opened when it fails is closed by stop.
func (s *process) start(ctx context.Context) error {
	for _, step := range s.steps() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.up.Store(true)
	s.log.Info().Str("version", s.Version).Str("data", s.Config.Data).Msg("ready")
	if s.Format == formatConsole && !s.notify.supervised() {
		s.printSummary(ctx)
	}
	s.notify.ready()
	return nil
}

// wait reloads at each hangup until ctx ends or a part fails.
func (s *process) wait(ctx context.Context) error {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	s.tasks.Go(func() { s.notify.watchdog(watch, s.alive) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return err
		case <-s.Hangup:
			s.reload()
		}
	}
}

// alive comes back unless the store is in a deadlock.
func (s *process) alive() {
	if s.store != nil {
		s.store.Alive()
	}
}

// fail makes the process stop because a part of it ended by itself.
func (s *process) fail(err error) {
	select {
	case s.failed <- err:
	default: // one reason is enough
	}
}

// defers registers what closes the thing that was just opened.
func (s *process) defers(f func(context.Context) error) { s.undo = append(s.undo, f) }

// stop closes everything in reverse order. The daemons have drainTime, what is left closeTime; what does not come back in
// time is left to the end of the process, which frees it, and is an error.
func (s *process) stop() error {
	s.up.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), drainTime+closeTime)
	defer cancel()
	var errs []error
	for _, undo := range slices.Backward(s.undo) {
		errs = append(errs, bounded(ctx, undo))
	}
	errs = append(errs, bounded(ctx, func(context.Context) error { s.tasks.Wait(); return nil }))
	return errors.Join(errs...)
}

// bounded runs f and waits for it no longer than ctx lasts.
func bounded(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("not everything was closed within %s", drainTime+closeTime)
	}
}
