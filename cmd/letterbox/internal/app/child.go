package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/listen"
)

// The pause before a process is started again doubles from the first to the last, and begins anew once one has lived for
// soundTime.
const (
	firstRestart = 100 * time.Millisecond
	lastRestart  = 10 * time.Second
	soundTime    = 3 * time.Second
)

// The time that each process may take to end; beyond it, it is killed. Together they fit into the 30 s of a stop.
const (
	daemonStop = drainTime + 1*time.Second
	storeStop  = closeTime - 1*time.Second
)

// hungAfter is how long a process that was ready may be silent; it says twice in that time that it lives. Beyond it, it is
// killed: it answers nobody.
const hungAfter = 30 * time.Second

// endingFor is how long a process may take for an end that it came to by itself: what its own stop is bounded by, and a little.
const endingFor = drainTime + closeTime + 1*time.Second

// ExitError is the end of one of the supervisor's processes by itself. It has said why on standard error.
type ExitError struct {
	Role Role
	Code int // its exit status
}

// Error names the role and its exit status.
func (e *ExitError) Error() string {
	return fmt.Sprintf("%s ended with exit status %d", e.Role, e.Code)
}

// child is one role's process, and the next one after its end.
type child struct {
	role   Role
	log    zerolog.Logger
	make   func(context.Context) *exec.Cmd // without descriptors
	stop   time.Duration                   // how long its end may take
	hung   time.Duration                   // how long it may be silent
	ending time.Duration                   // how long it may be so once it ends by itself
	handed []handed
	fail   func(error)

	ready  chan struct{} // closed when a process of it was ready for the first time
	seen   sync.Once     // closes ready
	end    error         // after keep: what went wrong at the last one's end
	mu     sync.Mutex
	living *os.Process // nil between two
}

// handed is a socket that goes to each process of a child under its name.
type handed struct {
	name string
	file *os.File
}

// keep runs a process, and another one whenever it ends, until ctx does.
func (c *child) keep(ctx context.Context) {
	pause := firstRestart
	for {
		began := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			c.end = c.badEnd(err)
			return
		}
		if killed := (*exec.ExitError)(nil); !errors.As(err, &killed) && !c.wasReady() {
			c.fail(err)
			return
		}
		if time.Since(began) >= soundTime {
			pause = firstRestart
		}
		c.log.Error().Err(err).Str("of", string(c.role)).Dur("pause", pause).Msg("process ended; starting it again")
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, lastRestart)
	}
}

// badEnd returns what is wrong with the end of a process that was told to end; nil where nothing is.
func (c *child) badEnd(err error) error {
	ended, killed := (*ExitError)(nil), (*exec.ExitError)(nil)
	switch {
	case errors.As(err, &ended) && ended.Code != 0:
		return ended
	case errors.As(err, &killed) && killed.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return fmt.Errorf("%s did not end within %s and was killed", c.role, c.stop)
	}
	return nil
}

func (c *child) wasReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// once runs one process to its end, which it is told to come to when ctx ends. The error of one that ended by itself is an
// *ExitError, of one that was killed an *exec.ExitError, and any other that of a process that was not started.
func (c *child) once(ctx context.Context) error {
	ours, theirs, err := connection()
	if err != nil {
		return err
	}
	defer ours.Close()
	cmd := c.make(ctx)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = c.stop
	// A group of its own: what is typed at the terminal goes to the supervisor, who knows the order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.hand(cmd, theirs)
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return &InputError{fmt.Sprintf("%s can't be started by uid %d: %s", c.role, os.Geteuid(), err), err}
	}
	c.setLiving(cmd.Process)
	defer c.setLiving(nil)
	c.log.Info().Str("of", string(c.role)).Int("pid", cmd.Process.Pid).Msg("process started")
	over, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { c.watch(over, ours, cmd.Process) })
	err = cmd.Wait()
	cancel()
	watch.Wait() // what it said last is read, up to the end of its connection
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && !exit.Exited() {
		return err // killed
	}
	if err == nil || cmd.ProcessState != nil {
		return &ExitError{c.role, cmd.ProcessState.ExitCode()}
	}
	return err
}

// hand gives cmd the sockets and its end of the connection as sd_listen_fds(3) has it, but for who they are for: the id of
// a process is not known before it is there.
func (c *child) hand(cmd *exec.Cmd, end *os.File) {
	names := []string{supervisorName}
	cmd.ExtraFiles = []*os.File{end}
	for _, h := range c.handed {
		names = append(names, h.name)
		cmd.ExtraFiles = append(cmd.ExtraFiles, h.file)
	}
	cmd.Env = append(cmd.Env,
		listen.EnvParent+"="+strconv.Itoa(os.Getpid()),
		"WATCHDOG_USEC="+strconv.FormatInt(c.hung.Microseconds(), 10),
		"LISTEN_FDS="+strconv.Itoa(len(names)),
		"LISTEN_FDNAMES="+strings.Join(names, ":"))
}

// watch reads what a process tells, until its end, and kills it when it falls silent behind READY, or does not end behind
// STOPPING; not once ctx has ended: the process has, too, or was told to, and has another bound.
func (c *child) watch(ctx context.Context, from *os.File, p *os.Process) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		switch lines.Text() {
		case daemon.SdNotifyReady:
			c.seen.Do(func() { close(c.ready) })
			_ = from.SetReadDeadline(time.Now().Add(c.hung)) // it can only fail where the read will, too
		case daemon.SdNotifyWatchdog:
			_ = from.SetReadDeadline(time.Now().Add(c.hung))
		case daemon.SdNotifyStopping:
			_ = from.SetReadDeadline(time.Now().Add(c.ending))
		}
	}
	if !errors.Is(lines.Err(), os.ErrDeadlineExceeded) || ctx.Err() != nil {
		return
	}
	c.log.Error().Str("of", string(c.role)).Msg("process does not answer, or does not end; killing it")
	_ = p.Kill() // it may end just now
}

func (c *child) setLiving(p *os.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.living = p
}

// signal passes a signal on to the process, if there is one.
func (c *child) signal(sig os.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.living != nil {
		_ = c.living.Signal(sig) // it may end just now
	}
}
