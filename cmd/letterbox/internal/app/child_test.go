package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/listen"
)

// playEnv tells this program, started by a test, what to do in place of its tests.
const playEnv = "LETTERBOX_TEST_PLAY"

func TestMain(m *testing.M) {
	if steps := os.Getenv(playEnv); steps != "" {
		play(strings.Fields(steps))
	}
	os.Exit(m.Run())
}

// play takes steps and never returns: READY=1 and the like are told to the supervisor, a duration is waited for, a number is
// the exit status, and term=N that which a SIGTERM brings; at the end nothing happens any more.
func play(steps []string) {
	supervisor := os.NewFile(3, "")
	terminated := make(chan os.Signal, 1)
	for _, step := range steps {
		status, onTerm := strings.CutPrefix(step, "term=")
		if code, err := strconv.Atoi(status); err == nil && onTerm {
			signal.Notify(terminated, syscall.SIGTERM)
			go func() {
				<-terminated
				os.Exit(code)
			}()
		} else if err == nil {
			os.Exit(code)
		} else if d, err := time.ParseDuration(step); err == nil {
			time.Sleep(d)
		} else if step == "deaf" {
			signal.Ignore(syscall.SIGTERM)
		} else {
			fmt.Fprintln(supervisor, step)
		}
	}
	time.Sleep(time.Hour)
}

// playing is a child that takes such steps.
func playing(steps string) (*child, chan error) {
	c, failed := testChild(os.Args[0])
	start := c.make
	c.make = func(ctx context.Context) *exec.Cmd {
		cmd := start(ctx)
		cmd.Env = []string{playEnv + "=" + steps, "GORACE=atexit_sleep_ms=0"} // it ends at once under the race detector, too
		return cmd
	}
	return c, failed
}

// testChild is a child that runs program, and where it tells its failure.
func testChild(program string, args ...string) (*child, chan error) {
	failed := make(chan error, 1)
	return &child{
		role: Store, log: zerolog.Nop(), stop: 100 * time.Millisecond, hung: 10 * time.Second, ready: make(chan struct{}),
		fail: func(err error) { failed <- err },
		make: func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, program, args...) },
	}, failed
}

// TestChildNotStarted: a program that can't be started is the operator's to mend, and not tried without end.
func TestChildNotStarted(t *testing.T) {
	c, failed := testChild(filepath.Join(t.TempDir(), "letterbox"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c.keep(ctx)
	select {
	case err := <-failed:
		if input := (*InputError)(nil); !errors.As(err, &input) || !strings.Contains(err.Error(), "store can't be started by uid") {
			t.Errorf("it failed with %v", err)
		}
	default:
		t.Error("it was tried until the end")
	}
}

// TestChildEnds: what goes wrong at the end of a process is not lost.
func TestChildEnds(t *testing.T) {
	for steps, want := range map[string]string{
		"term=0 READY=1": "", "term=3 READY=1": "store ended with exit status 3", "deaf READY=1": "store did not end within 100ms and was killed",
	} {
		c, failed := playing(steps)
		if !strings.HasPrefix(steps, "deaf") {
			c.stop = time.Minute // long enough on a busy machine
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.keep(ctx)
		}()
		select {
		case <-c.ready:
		case err := <-failed:
			t.Fatal(err)
		}
		cancel()
		<-done
		if got := errors.Join(c.end); got == nil && want != "" || got != nil && got.Error() != want {
			t.Errorf("%q: %v, want %q", steps, got, want)
		}
	}
}

// TestChildHangs: a process that was ready and falls silent is killed, and another one started; one that says that it lives
// is left alone, and so is one that is about to end, for as long as that may take.
func TestChildHangs(t *testing.T) {
	for steps, end := range map[string]struct {
		want   string
		ending time.Duration
	}{
		"READY=1": {"signal: killed", time.Minute},
		"READY=1" + strings.Repeat(" 200ms WATCHDOG=1", 15) + " 3": {"store ended with exit status 3", time.Minute},
		"READY=1 STOPPING=1 3s 4":                                  {"store ended with exit status 4", time.Minute},
		"READY=1 STOPPING=1":                                       {"signal: killed", 3 * time.Second},
		"3s READY=1 5":                                             {"store ended with exit status 5", time.Minute},
	} {
		t.Run(steps, func(t *testing.T) {
			t.Parallel()
			c, _ := playing(steps)
			c.hung, c.ending = 2*time.Second, end.ending
			if err := c.once(t.Context()); err == nil || err.Error() != end.want {
				t.Errorf("it ended with %v, want %s", err, end.want)
			}
		})
	}
}

// TestKeysStay: a socket keeps its name when others come or go, and two of the same address have one each.
func TestKeysStay(t *testing.T) {
	keys := func(texts ...string) (all []string) {
		c := &config.Config{}
		for _, text := range texts {
			a, err := listen.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			c.SMTP.Listen = append(c.SMTP.Listen, a)
		}
		for _, l := range wanted(c, SMTPD) {
			all = append(all, l.key)
		}
		return all
	}
	before, after := keys("127.0.0.1:25"), keys("127.0.0.2:25", "127.0.0.1:25")
	if before[0] != after[1] || after[0] == after[1] {
		t.Errorf("%q became %q", before, after)
	}
	if twins := keys("127.0.0.1:0", "127.0.0.1:0"); twins[0] == twins[1] {
		t.Errorf("both are %q", twins[0])
	}
}
