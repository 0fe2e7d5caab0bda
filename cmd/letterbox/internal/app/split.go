package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/listen"
)

// SplitOptions is what the supervisor needs beside the options of its processes.
type SplitOptions struct {
	Options                     // Role is not used
	Program string              // the path of this binary
	Args    func(Role) []string // the arguments of each role's process
	Environ []string
	RunAs   string // USER[:GROUP] to become once the sockets are open; empty for the owner of the data folder
}

// RunSplit runs store, smtpd and pop3d as three processes until ctx ends. It opens all sockets itself, and keeps them while
// a process is started again after its end, so that no connection is refused meanwhile. It stops the daemons before the
// store, all within 30 s. An *ExitError means that a process failed before it was ever ready, or at its end.
func RunSplit(ctx context.Context, o SplitOptions) error {
	log, gate := newLog(o.Config.Log, o.Format, o.Log)
	log = log.With().Str("role", "supervisor").Logger()
	s := &supervisor{SplitOptions: o, log: log, gate: gate, notify: notifier{log: log}, failed: make(chan error, 1)}
	defer s.close()
	s.prepare()
	if err := s.open(notUnix); err != nil {
		return err
	}
	if err := s.drop(); err != nil {
		return err
	}
	if err := s.open(isUnix); err != nil {
		return err
	}
	err := s.run(ctx)
	s.notify.stopping()
	s.log.Info().Msg("stopping")
	return errors.Join(err, s.stop())
}

// supervisor starts the processes and holds what outlives each of them.
type supervisor struct {
	SplitOptions
	log      zerolog.Logger
	gate     *levelGate
	notify   notifier
	opened   []listener
	children []*child // in the order of their start
	failed   chan error

	// Daemons and store are stopped one after the other.
	stopDaemons, stopStore context.CancelFunc
	daemons, store         sync.WaitGroup
}

// prepare makes the children, which have no sockets yet.
func (s *supervisor) prepare() {
	for _, role := range Split() {
		c := &child{
			role: role, log: s.log, stop: daemonStop, hung: hungAfter, ending: endingFor, fail: s.fail, ready: make(chan struct{}),
			make: func(ctx context.Context) *exec.Cmd { return s.command(ctx, role) },
		}
		if role == Store {
			c.stop = storeStop
		}
		s.children = append(s.children, c)
	}
}

// open opens those sockets of all roles for which want is true, by whatever right this process has now.
func (s *supervisor) open(want func(listen.Address) bool) error {
	for _, c := range s.children {
		opened, err := openWanted(s.Config, c.role, want)
		s.opened = append(s.opened, opened...)
		if err != nil {
			return err
		}
		if err := c.take(opened); err != nil {
			return err
		}
	}
	return nil
}

// take makes descriptors of sockets, under the names by which the process looks for them.
func (c *child) take(opened []listener) error {
	for _, l := range opened {
		socket, ok := l.Listener.(interface{ File() (*os.File, error) })
		if !ok {
			return fmt.Errorf("%s: a %T can't be handed over", l.Addr(), l.Listener)
		}
		file, err := socket.File()
		if err != nil {
			return fmt.Errorf("%s: %w", l.Addr(), err)
		}
		c.handed = append(c.handed, handed{l.key, file})
	}
	return nil
}

// drop gives up the rights of root.
func (s *supervisor) drop() error {
	if s.RunAs != "" {
		return becomeUser(s.RunAs, s.Config.Data, s.Config.Source("data"))
	}
	return BecomeOwner(s.Config.Data)
}

// command is a role's process without its sockets. What only the service manager's own child may use is kept from it.
func (s *supervisor) command(ctx context.Context, role Role) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Program, append([]string{string(role)}, s.Args(role)...)...)
	for _, entry := range s.Environ {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.Contains(s.ours(role), name) {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	if role == Store {
		cmd.Env = append(cmd.Env, s.canaryEnv()...)
	}
	cmd.Stdout, cmd.Stderr = s.Out, s.Log
	return cmd
}

// ours are the variables that are not handed on: the service manager's, and the passwords where they are not needed.
func (s *supervisor) ours(role Role) []string {
	names := []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", listen.EnvParent, "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
	for _, k := range config.Keys() {
		if k.Secret && !role.Uses(k) {
			names = append(names, k.Env())
		}
	}
	return names
}

// run starts the processes and passes hangups on until ctx ends or one of them fails for good.
func (s *supervisor) run(ctx context.Context) error {
	storeCtx, stopStore := context.WithCancel(context.Background())
	daemonCtx, stopDaemons := context.WithCancel(context.Background())
	s.stopStore, s.stopDaemons = stopStore, stopDaemons
	// The store first: a daemon would wait for it anyway, and what the operator has to mend is most often there.
	s.store.Go(func() { s.children[0].keep(storeCtx) })
	if up, err := s.await(ctx, s.children[:1]); !up {
		return err
	}
	for _, c := range s.children[1:] {
		s.daemons.Go(func() { c.keep(daemonCtx) })
	}
	if up, err := s.await(ctx, s.children[1:]); !up {
		return err
	}
	s.log.Info().Str("version", s.Version).Str("data", s.Config.Data).Msg("ready")
	if s.Format == formatConsole {
		s.printSummary(ctx)
	}
	s.notify.ready()
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.notify.watchdog(watch, func() {})
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

// await waits until each of children was ready once. It returns false when that is not to come.
func (s *supervisor) await(ctx context.Context, children []*child) (up bool, err error) {
	for _, c := range children {
		select {
		case <-c.ready:
		case err := <-s.failed:
			return false, err
		case <-ctx.Done():
			return false, nil
		}
	}
	return true, nil
}

func (s *supervisor) reload() {
	s.notify.reloading()
	defer s.notify.ready()
	for _, c := range s.children {
		c.signal(syscall.SIGHUP)
	}
}

func (s *supervisor) fail(err error) {
	select {
	case s.failed <- err:
	default: // one reason is enough
	}
}

// stop ends the daemons and then the store: what is under way needs it until then. It returns how those ended that did not
// end well.
func (s *supervisor) stop() error {
	s.stopDaemons()
	s.close() // who connects now is refused, and not left waiting
	s.daemons.Wait()
	s.stopStore()
	s.store.Wait()
	var errs []error
	for _, c := range s.children {
		errs = append(errs, c.end)
	}
	return errors.Join(errs...)
}

// close closes the sockets.
func (s *supervisor) close() {
	for _, c := range s.children {
		for _, h := range c.handed {
			h.file.Close()
		}
	}
	var errs []error
	for _, l := range s.opened {
		errs = append(errs, closeListener(l.Listener))
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Warn().Err(err).Msg("a socket was not closed")
	}
}

// printSummary is the one of a single process; of the accounts the store's process is asked.
func (s *supervisor) printSummary(ctx context.Context) {
	empty := false
	if admin, err := dialOwner(ctx, s.Config); err == nil {
		d, err := admin.Directory(ctx)
		empty = err == nil && len(d.Accounts) == 0
		admin.Close()
	}
	printSummary(s.Out, s.Version, s.Config.Data, s.opened, empty)
}
