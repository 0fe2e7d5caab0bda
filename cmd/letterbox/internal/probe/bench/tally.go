package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// tally is what one goroutine of a run counted.
type tally struct {
	run       *work
	done      int64         // pieces of work that came to their good end
	octets    int64         // of content, sent or retrieved
	last      time.Duration // since the start, when the last piece was done
	latencies map[string]*Latency
	failures  map[string]*Failure
	cut       int64 // pieces that the run's end cut off
	check     Check
}

// Failure is one way in which pieces of work failed.
type Failure struct {
	Count   int64  `json:"count"`
	Example string `json:"example"`
}

// Check is what became of messages that were drained.
type Check struct {
	// Octets counts messages whose octets are not those that LIST announced.
	Octets int64 `json:"wrong_octets"`
	// Intact, Altered and Twice count messages that bench itself had sent.
	Intact  int64 `json:"intact"`
	Altered int64 `json:"altered"`
	Twice   int64 `json:"twice"`
	// Unknown counts all other messages: nobody can say what they were.
	Unknown int64 `json:"unknown"`
}

func (c *Check) add(o Check) {
	c.Octets += o.Octets
	c.Intact += o.Intact
	c.Altered += o.Altered
	c.Twice += o.Twice
	c.Unknown += o.Unknown
}

func newTally(w *work) *tally {
	return &tally{run: w, latencies: map[string]*Latency{}, failures: map[string]*Failure{}}
}

// took counts how long a step took, and returns the time, at which the next may begin.
func (t *tally) took(step string, began time.Time) time.Time {
	now := time.Now()
	l := t.latencies[step]
	if l == nil {
		l = &Latency{}
		t.latencies[step] = l
	}
	l.Add(now.Sub(began))
	return now
}

// finished counts a piece of work that came to its good end.
func (t *tally) finished(octets int64) {
	t.done++
	t.octets += octets
	t.last = time.Since(t.run.began)
}

// failed counts a piece of work that failed, under what it failed of.
func (t *tally) failed(err error) {
	if t.run.soft.Err() != nil && (errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)) {
		t.cut++
		return
	}
	t.fail(kind(err), 1, err.Error())
}

func (t *tally) fail(kind string, n int64, example string) {
	f := t.failures[kind]
	if f == nil {
		f = &Failure{Example: fmt.Sprintf("%.160s", example)}
		t.failures[kind] = f
	}
	f.Count += n
}

// kind is the class of an error: the reply's code where a server refused.
func kind(err error) string {
	reply, status, timeout := (*probe.ReplyError)(nil), (*probe.StatusError)(nil), net.Error(nil)
	unknown, alert := x509.UnknownAuthorityError{}, tls.AlertError(0)
	switch {
	case errors.As(err, &reply):
		return strconv.Itoa(reply.Code)
	case errors.As(err, &status):
		if code := status.Code(); code != "" && len(code) < 40 {
			return "-ERR " + code
		}
		return "-ERR"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &unknown), errors.As(err, &alert):
		return "tls"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "closed"
	case errors.Is(err, probe.ErrProtocol), errors.Is(err, probe.ErrLongLine):
		return "protocol"
	case errors.Is(err, syscall.EMFILE):
		return "files"
	}
	return "other"
}

func (t *tally) merge(o *tally) {
	t.done += o.done
	t.octets += o.octets
	t.cut += o.cut
	t.last = max(t.last, o.last)
	t.check.add(o.check)
	for step, l := range o.latencies {
		if t.latencies[step] == nil {
			t.latencies[step] = &Latency{}
		}
		t.latencies[step].merge(l)
	}
	for kind, f := range o.failures {
		t.fail(kind, f.Count, f.Example)
	}
}

// reachable dials once and makes a sentence of what is in the way.
func reachable(ctx context.Context, network, address string, timeout time.Duration) error {
	dialer := net.Dialer{Timeout: timeout}
	c, err := dialer.DialContext(ctx, network, address)
	if err == nil {
		return c.Close()
	}
	why := err.Error()
	dns := (*net.DNSError)(nil)
	timedOut := net.Error(nil)
	switch {
	case errors.As(err, &dns):
		why = "its name is not known"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "nobody listens there"
	case errors.Is(err, os.ErrNotExist):
		why = "there is no such socket"
	case errors.As(err, &timedOut) && timedOut.Timeout():
		why = fmt.Sprintf("no answer within %s", timeout)
	}
	return fmt.Errorf("the target %s can't be reached: %s", address, why)
}
