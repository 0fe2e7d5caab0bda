package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// floodAccounts is how many maildrops a flood fills.
const floodAccounts = 5

func floodUser(n int) string { return fmt.Sprintf("user%d@mail.example", n%floodAccounts) }

// floodArgs are the arguments of serve that make the accounts.
func floodArgs() (args []string) {
	for n := range floodAccounts {
		args = append(args, "--account", floodUser(n)+":"+password)
	}
	return args
}

// floodMessage is message n: always the same, of a size between a few octets and 1 MiB.
func floodMessage(n int) []byte {
	octets := n * 7919 % 8000
	switch {
	case n%250 == 0:
		octets = 1 << 20
	case n%20 == 0:
		octets = 100 << 10
	}
	return append(fmt.Appendf(nil, "Subject: flood\r\nX-Number: %d\r\n\r\n", n), text(octets, uint64(n))...)
}

// floodRcpts says who gets message n: one account, and every tenth message two.
func floodRcpts(n int) []string {
	if n%10 == 0 {
		return []string{floodUser(n), floodUser(n + 1)}
	}
	return []string{floodUser(n)}
}

// flood sends numbered messages and keeps a journal of what was acknowledged.
type flood struct {
	senders int
	next    atomic.Int64
	limit   int64 // numbers of messages end here

	mu     sync.Mutex
	acked  map[int]string // number -> the id of its 250
	begun  map[int]bool   // numbers that a sender tried
	waits  map[int]chan struct{}
	failed []error // why senders gave up
}

func newFlood(senders int, limit int64) *flood {
	return &flood{senders: senders, limit: limit, acked: map[int]string{}, begun: map[int]bool{}, waits: map[int]chan struct{}{}}
}

// run sends until the limit. A sender that fails gives up, so that no message is ever sent twice.
func (f *flood) run(addr string) {
	var all sync.WaitGroup
	for range f.senders {
		all.Go(func() {
			for f.next.Load() < f.limit {
				if err := f.session(addr); err != nil {
					f.mu.Lock()
					defer f.mu.Unlock()
					f.failed = append(f.failed, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// session sends up to twenty messages over one connection.
func (f *flood) session(addr string) error {
	c, err := dialSMTP(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for range 20 {
		n := int(f.next.Add(1) - 1)
		if int64(n) >= f.limit {
			break
		}
		f.begin(n)
		id, err := c.deliver(floodMessage(n), floodRcpts(n)...)
		if err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
		f.acknowledge(n, id)
	}
	_, err = c.smtp("221", "QUIT")
	return err
}

func (f *flood) begin(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun[n] = true
}

func (f *flood) acknowledge(n int, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked[n] = id
	if done := f.waits[len(f.acked)]; done != nil {
		close(done)
	}
}

// after returns a channel that closes when so many messages were acknowledged. It is asked before run.
func (f *flood) after(messages int) <-chan struct{} {
	f.waits[messages] = make(chan struct{})
	return f.waits[messages]
}

// noFailure wants that every sender came to its end.
func (f *flood) noFailure(t *testing.T) {
	t.Helper()
	if err := errors.Join(f.failed...); err != nil {
		t.Fatal(err)
	}
}

// drained is where a flood's messages came out: number -> account -> id of each copy.
type drained map[int]map[string][]string

// drainFlood empties all maildrops of a flood at once, and compares each message with what was sent.
func drainFlood(t *testing.T, s *server) drained {
	t.Helper()
	all, errs := make([][]fetched, floodAccounts), make([]error, floodAccounts)
	var wg sync.WaitGroup
	for n := range floodAccounts {
		wg.Go(func() { all[n], errs[n] = tryDrain(s, floodUser(n)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	out := drained{}
	for n, messages := range all {
		for _, m := range messages {
			out.add(t, floodUser(n), m)
		}
	}
	return out
}

func (d drained) add(t *testing.T, user string, m fetched) {
	t.Helper()
	body := withoutTrace(t, m.raw, sender, user)
	found := regexp.MustCompile(`(?m)^X-Number: (\d+)\r$`).FindSubmatch(body[:min(200, len(body))])
	if found == nil {
		t.Fatalf("no number in %.100q", body)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	if want := floodMessage(n); !bytes.Equal(body, want) {
		same(t, body, want)
	}
	if d[n] == nil {
		d[n] = map[string][]string{}
	}
	d[n][user] = append(d[n][user], m.uidl)
}

// check holds what came out against the journal: what was acknowledged is there once for each recipient, under the id that
// its sender was told; what was only begun is there at most once, for all its recipients or for none.
func (f *flood) check(t *testing.T, out drained) {
	t.Helper()
	for n := range f.begun {
		id, acked := f.acked[n]
		rcpts := floodRcpts(n)
		if !acked && len(out[n]) == 0 {
			continue
		}
		for _, user := range rcpts {
			switch copies := out[n][user]; {
			case len(copies) != 1:
				t.Errorf("message %d (acknowledged: %t) came out of %s %d times", n, acked, user, len(copies))
			case acked && copies[0] != id:
				t.Errorf("message %d has the UIDL %s in %s; its sender was told %s", n, copies[0], user, id)
			}
		}
		if len(out[n]) != len(rcpts) {
			t.Errorf("message %d came out of %d maildrops, want %d", n, len(out[n]), len(rcpts))
		}
	}
	for n := range out {
		if !f.begun[n] {
			t.Errorf("message %d was never sent", n)
		}
	}
}
