package bench

import (
	"context"
	"io"
	"sync"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// Idle opens sessions and holds them all at the same time. What it measures is the memory that they cost.
type Idle struct {
	POP3
	Protocol string        // smtp or pop3
	LoggedIn bool          // of POP3: each session as the next user
	LMTP     bool          // of SMTP
	Hold     time.Duration // how long they are held, once all are there
}

// openers is how many sessions are opened at the same time.
const openers = 20

// Do opens Count sessions, in the time of the run, and closes them. It fails only where nothing could be measured.
func (i Idle) Do(ctx context.Context) (*Result, error) {
	before, err := watch(i.PIDs)
	if err != nil {
		return nil, err
	}
	i.Connections = min(openers, i.Count)
	w, end := i.start(ctx)
	defer end()
	var held sessions
	defer held.close()
	sum := w.each(func(t *tally) {
		for {
			n, more := w.take()
			if !more {
				return
			}
			c, err := i.open(w, t, n)
			if err != nil {
				t.failed(err)
				w.pause()
				continue
			}
			held.add(c)
			t.finished(0)
		}
	})
	w.keep()
	select {
	case <-ctx.Done():
	case <-time.After(i.Hold):
	}
	r := w.result(i.Protocol, "idle", "sessions", sum)
	if err := before.into(r); err != nil {
		return nil, err
	}
	r.perSession(before)
	return r, nil
}

func (i Idle) open(w *work, t *tally, n int) (io.Closer, error) {
	if i.Protocol == "pop3" && i.LoggedIn {
		return i.POP3.open(w, t, n)
	}
	began := time.Now()
	var c io.Closer
	var err error
	if i.Protocol == "pop3" {
		c, err = probe.DialPOP3(w.hard, w.Server)
	} else {
		c, err = probe.DialSMTP(w.hard, w.Server, hostname(), i.LMTP)
	}
	if err == nil {
		t.took("connect", began)
	}
	return c, err
}

// sessions are those that are open.
type sessions struct {
	mu  sync.Mutex
	all []io.Closer
}

func (s *sessions) add(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, c)
}

func (s *sessions) close() {
	for _, c := range s.all {
		c.Close()
	}
}
