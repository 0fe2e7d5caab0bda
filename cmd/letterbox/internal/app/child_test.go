package app

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/listen"
)

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
	for trap, want := range map[string]string{
		"exit 0": "", "exit 3": "store ended with exit status 3", "": "store did not end within 100ms and was killed",
	} {
		c, failed := testChild("sh", "-c", "trap '"+trap+"' TERM; echo READY=1 >&3; while :; do sleep 0.01; done")
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
			t.Errorf("%q: %v, want %q", trap, got, want)
		}
	}
}

// TestChildHangs: a process that was ready and falls silent is killed, and another one started; one that says that it lives
// is left alone, and so is one that is about to end.
func TestChildHangs(t *testing.T) {
	for script, want := range map[string]string{
		"echo READY=1 >&3; exec sleep 60": "signal: killed",
		"echo READY=1 >&3; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.05; echo WATCHDOG=1 >&3; done; exit 3": "store ended with exit status 3",
		"echo READY=1 >&3; echo STOPPING=1 >&3; sleep 0.6; exit 4":                                                "store ended with exit status 4",
		"sleep 0.6; echo READY=1 >&3; exit 5":                                                                     "store ended with exit status 5",
	} {
		c, _ := testChild("sh", "-c", script)
		c.hung = 300 * time.Millisecond
		if err := c.once(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%s: it ended with %v, want %s", script, err, want)
		}
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
