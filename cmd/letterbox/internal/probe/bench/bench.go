// Package bench puts load on a mail server by SMTP and POP3, and says how it did: any server, as long as it is one's own.
//
// A run is bounded by a count and by time. When either is over, or its context ends, no new work is begun; what is under way
// has a grace of two seconds, and what was measured until then is the result.
package bench

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// grace is how long work may go on after a run's end. What is not over by then counts for nothing.
const grace = 2 * time.Second

// Run is what the loads have in common.
type Run struct {
	Server      probe.Options
	Connections int           // at the same time
	Count       int           // messages, logins or maildrops in all; 0: no bound
	Time        time.Duration // after which nothing new begins
	Users       Users
	PIDs        []int // roots of the server's process trees, to be measured; local ones
}

// Users are the accounts or forward-paths that a run goes through.
type Users struct {
	format string
	First  int
	N      int
}

// NewUsers reads a format with at most one verb as %d or %04d, which stands for the number of the user. Without one there is
// one user.
func NewUsers(format string, first, n int) (Users, error) {
	if !regexp.MustCompile(`^[^%]*(%(0[1-9])?d[^%]*)?$`).MatchString(format) || format == "" {
		return Users{}, fmt.Errorf("%q is no format of users: write it as u%%04d@bench.test", format)
	}
	if first < 0 || n < 1 {
		return Users{}, fmt.Errorf("there must be a user at least, and numbers begin at 0")
	}
	if !strings.Contains(format, "%") && n > 1 {
		return Users{}, fmt.Errorf("%d users need a %%d in %q to be told apart", n, format)
	}
	return Users{format, first, n}, nil
}

// Name is the name of user i of N; i is taken modulo N.
func (u Users) Name(i int) string {
	if !strings.Contains(u.format, "%") {
		return u.format
	}
	return fmt.Sprintf(u.format, u.First+i%u.N)
}

// work is one run under way.
type work struct {
	Run
	soft, hard context.Context // no new work; no work at all
	keep       func() bool     // from now on hard ends with the run's end alone
	began      time.Time
	next       atomic.Int64
}

// start begins the time of a run. The caller calls end.
func (r Run) start(ctx context.Context) (w *work, end func()) {
	w = &work{Run: r, began: time.Now()}
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	soft, over := context.WithTimeout(ctx, r.Time)
	w.soft, w.hard = soft, hard
	timer := make(chan struct{})
	w.keep = context.AfterFunc(soft, func() {
		select {
		case <-time.After(grace):
			cancel()
		case <-timer:
		}
	})
	return w, func() {
		w.keep()
		close(timer)
		over()
		cancel()
	}
}

// take returns the number of the next piece of work, or false when the run is over.
func (w *work) take() (int, bool) {
	if w.soft.Err() != nil {
		return 0, false
	}
	n := int(w.next.Add(1) - 1)
	return n, w.Count == 0 || n < w.Count
}

// pause waits a moment after a failure, so that a server that is away is not hammered.
func (w *work) pause() {
	select {
	case <-w.soft.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

// each runs do in as many goroutines as the run has connections, each with a tally of its own, and returns their sum.
func (w *work) each(do func(*tally)) *tally {
	tallies := make([]*tally, w.Connections)
	var all sync.WaitGroup
	for i := range tallies {
		tallies[i] = newTally(w)
		all.Go(func() { do(tallies[i]) })
	}
	all.Wait()
	sum := newTally(w)
	for _, t := range tallies {
		sum.merge(t)
	}
	return sum
}

// Reachable says in one sentence why the target can't be reached, if it can't.
func Reachable(ctx context.Context, o probe.Options) error {
	network, address := "tcp", o.Target
	if path, ok := strings.CutPrefix(o.Target, "unix:"); ok {
		network, address = "unix", path
	}
	return reachable(ctx, network, address, o.Timeout)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" || strings.ContainsAny(name, " \t\r\n") {
		return "bench.invalid"
	}
	return name
}
