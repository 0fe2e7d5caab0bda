package storesock

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// cutListener gives connections that are cut in place of being written to, while cut is set.
type cutListener struct {
	net.Listener
	cut *atomic.Bool
}

type cutConn struct {
	net.Conn
	cut *atomic.Bool
}

func (l cutListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return cutConn{c, l.cut}, nil
}

func (c cutConn) Write(p []byte) (int, error) {
	if c.cut.CompareAndSwap(true, false) {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

// TestLostAnswer: when the answer to a commit gets lost, the client says what became of the message, and it is there once.
func TestLostAnswer(t *testing.T) {
	var cut atomic.Bool
	b := &box{}
	b.beforeCommit = func() { cut.Store(true) }
	s := startServices(t, b)
	s.stop()
	s.wrap = func(l net.Listener) net.Listener { return cutListener{l, &cut} }
	s.start(t)
	d := s.deliverer(t)
	if err := begin(t, d).Commit(t.Context(), final()); err != nil || b.count() != 1 {
		t.Errorf("delivered: %v, %d messages", err, b.count())
	}
	b.commitErr = store.ErrFull
	wantErr(t, "refused", begin(t, d).Commit(t.Context(), final()), store.ErrFull)
	b.commitErr = nil
	// A restarted owner knows nothing of it, and this one can't look it up.
	b.beforeCommit = func() {
		cut.Store(true)
		s.d.outcomes.mu.Lock()
		defer s.d.outcomes.mu.Unlock()
		clear(s.d.outcomes.known)
	}
	wantErr(t, "forgotten", begin(t, d).Commit(t.Context(), final()), store.ErrUnavailable)
	b.beforeCommit = func() { cut.Store(true); go s.stop() }
	s.d.outcomes = newOutcomes()
	err := begin(t, d).Commit(t.Context(), final())
	if err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("while the owner stops: %v", err)
	}
}

// TestAskWaits: one who asks while the commit is under way is told its outcome.
func TestAskWaits(t *testing.T) {
	b := &box{}
	entered, goOn := make(chan struct{}), make(chan struct{})
	b.beforeCommit = func() { close(entered); <-goOn }
	d := startServices(t, b).deliverer(t)
	draft := begin(t, d)
	result := make(chan error, 2)
	go func() { result <- draft.Commit(context.Background(), final()) }()
	<-entered
	go func() { result <- d.pool.ask(context.Background(), draft.ID()) }()
	select {
	case err := <-result:
		t.Fatalf("told before the commit was through: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	for range 2 {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

// TestAskFences: once somebody was told that a message is not there it never comes.
func TestAskFences(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	s.d.outcomes.askTime = time.Millisecond
	d := s.deliverer(t)
	draft := begin(t, d)
	wantErr(t, "ask", d.pool.ask(t.Context(), draft.ID()), store.ErrUnavailable)
	wantErr(t, "commit", draft.Commit(t.Context(), final()), store.ErrUnavailable)
	if b.count() != 0 {
		t.Error("it was committed after all")
	}
}

// TestOutcomesAreBounded in number, and forgotten.
func TestOutcomesAreBounded(t *testing.T) {
	o := newOutcomes()
	now := time.Now()
	id := func(i int) store.ID { return store.ID{13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)} }
	for i := range maxOutcomes + 10 {
		e := o.begin(id(i))
		o.commit(e)
		o.finish(e, nil, now)
		o.drop(e)
	}
	if len(o.known) != maxOutcomes || len(o.order) != maxOutcomes {
		t.Errorf("%d known", len(o.known))
	}
	if _, known := o.ask(t.Context(), id(9)); known {
		t.Error("the oldest is known")
	}
	if err, known := o.ask(t.Context(), id(10)); err != nil || !known {
		t.Error("the oldest that was kept is not")
	}
	e := o.begin(id(1 << 20))
	o.commit(e)
	o.finish(e, nil, now.Add(outcomeTime+time.Second))
	if len(o.known) != 1 {
		t.Errorf("%d known after two minutes", len(o.known))
	}
	o.drop(o.begin(id(5)))
	if len(o.known) != 1 {
		t.Error("a discarded draft is kept")
	}
}
