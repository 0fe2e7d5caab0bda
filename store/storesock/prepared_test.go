package storesock

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// attempt is one of the transaction whose message begin begins.
func attempt() store.Attempt { return store.Attempt{Session: "s", From: "a@b", To: "x", Size: 5} }

func resolve(t testing.TB, d *Deliverer, a store.Attempt) {
	t.Helper()
	if _, err := d.Resolve(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

func (b *box) begun() int { return see(b, func() int { return int(b.next) }) }

// TestPrepared: with the first Resolve of a transaction its draft is begun, the others and Begin use the same one, and it is
// a draft like any other.
func TestPrepared(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	d := s.deliverer(t)
	for n := 1; n <= 3; n++ {
		resolve(t, d, attempt())
		b.resolveErr = store.ErrNoMaildrop
		_, err := d.Resolve(t.Context(), attempt())
		wantErr(t, "a recipient nobody has", err, store.ErrNoMaildrop)
		b.resolveErr = nil
		resolve(t, d, attempt())
		draft := begin(t, d)
		if draft.ID() != (store.ID{15: byte(n)}) || b.begun() != n || len(d.pool.idle) != 0 {
			t.Fatalf("message %s, %d drafts, %d idle connections", draft.ID(), b.begun(), len(d.pool.idle))
		}
		if _, err := draft.Write(make([]byte, 3*bodyChunk)); err != nil {
			t.Fatal(err)
		}
		if err := draft.Commit(t.Context(), final()); err != nil || b.count() != n {
			t.Fatalf("commit: %v, %d messages", err, b.count())
		}
	}
	resolve(t, d, attempt())
	begin(t, d).Discard()
	soon(t, "discarding", func() bool { return see(b, func() int { return b.discarded }) == 4 })
	if len(d.pool.idle) != 1 {
		t.Errorf("%d idle connections", len(d.pool.idle))
	}
}

// TestPreparedForOthers: a draft is for one envelope; another one's Begin asks for its own.
func TestPreparedForOthers(t *testing.T) {
	b := &box{}
	d := startServices(t, b).deliverer(t)
	for n, change := range []func(*store.Attempt){
		func(a *store.Attempt) { a.Session = "t" },
		func(a *store.Attempt) { a.From = "" },
		func(a *store.Attempt) { a.Size = 6 },
	} {
		a := attempt()
		change(&a)
		resolve(t, d, a)
		if err := begin(t, d).Commit(t.Context(), final()); err != nil || b.begun() != 2*(n+1) {
			t.Errorf("%+v: %v, %d drafts", a, err, b.begun())
		}
	}
	b.beginErr = store.ErrFull
	resolve(t, d, attempt())
	_, err := d.Begin(t.Context(), envelopeOf(attempt()))
	wantErr(t, "none could be prepared", err, store.ErrFull)
	b.beginErr = nil
	if err := begin(t, d).Commit(t.Context(), final()); err != nil {
		t.Error(err)
	}
}

// TestPreparedAreBounded: transactions that end without a message leave no more drafts than connections that are kept, and
// none behind their time or their connection.
func TestPreparedAreBounded(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	d := s.deliverer(t)
	const transactions = 2 * maxIdle
	for n := range transactions {
		a := attempt()
		a.Session = fmt.Sprint(n)
		resolve(t, d, a)
	}
	given := func() int { return see(b, func() int { return b.discarded }) }
	soon(t, "forgetting", func() bool { return given() == transactions-maxIdle })
	if len(d.pool.idle) != maxIdle {
		t.Errorf("%d idle connections", len(d.pool.idle))
	}
	e := store.Envelope{Session: fmt.Sprint(transactions - 1), From: "a@b", Declared: 5}
	if w, _ := d.pool.prepared(e, time.Now().Add(idleTime+time.Second)); w != nil {
		t.Error("a draft is used that nobody looked after for more than a minute")
	}
	d.Close()
	soon(t, "forgetting", func() bool { return given() == transactions })
	s.d.outcomes.mu.Lock()
	defer s.d.outcomes.mu.Unlock()
	if len(s.d.outcomes.known) != 0 {
		t.Errorf("%d outcomes are kept of drafts that never came", len(s.d.outcomes.known))
	}
}

// TestPreparedFences: also a draft of which nothing came yet never comes, once somebody was told that it is not there.
func TestPreparedFences(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	s.d.outcomes.askTime = time.Millisecond
	d := s.deliverer(t)
	resolve(t, d, attempt())
	draft := begin(t, d)
	wantErr(t, "ask", d.pool.ask(t.Context(), draft.ID()), store.ErrUnavailable)
	wantErr(t, "commit", draft.Commit(t.Context(), final()), store.ErrUnavailable)
	if b.count() != 0 {
		t.Error("it was committed after all")
	}
}

// TestPreparedOwnerRestarts: a draft that went with its owner is a temporary error, and the next transaction is none.
func TestPreparedOwnerRestarts(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	d := s.deliverer(t)
	resolve(t, d, attempt())
	s.d.grace = time.Millisecond
	s.stop()
	s.start(t)
	wantErr(t, "commit", begin(t, d).Commit(t.Context(), final()), store.ErrUnavailable)
	resolve(t, d, attempt())
	if err := begin(t, d).Commit(t.Context(), final()); err != nil || b.count() != 1 {
		t.Errorf("afterwards: %v, %d messages", err, b.count())
	}
}

// TestPreparedStop: while the service stops, a draft that was prepared has the time of one that is open, and no more.
func TestPreparedStop(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	d := s.deliverer(t)
	resolve(t, d, attempt())
	draft := begin(t, d)
	var stopped sync.WaitGroup
	stopped.Go(s.stop)
	soon(t, "the end of listening", func() bool { return NewDeliverer(s.deliver).Ping(context.Background()) != nil })
	if err := draft.Commit(t.Context(), final()); err != nil {
		t.Error(err)
	}
	stopped.Wait()
	p := &deliverSession{deliverServer: s.d}
	now := time.Now()
	p.phase.Store(now.Add(-time.Hour).UnixNano())
	if p.lastRead(now).After(now) {
		t.Error("one that was prepared long ago holds the stop up")
	}
}

// TestPreparedOnTheWire: what may follow a Resolve, frame by frame.
func TestPreparedOnTheWire(t *testing.T) {
	r := requests()
	for said, want := range map[string]string{
		"resolve data final":                 "AA",
		"resolve resolve final":              "AAA",
		"resolve discard data":               "A",
		"resolve discard resolve final":      "AAA",
		"resolve begin data final":           "AAA",
		"resolve ask final":                  "AFA",
		"resolve data resolve":               "A",
		"resolve data begin":                 "A",
		"resolve final data":                 "AA",
		"resolve final final":                "AA",
		"resolve final resolve final":        "AAAA",
		"resolve hello":                      "A",
		"resolve step":                       "A",
		"resolve discard begin discard data": "AA",
	} {
		b := &box{}
		s := startServices(t, b)
		whole := helloFor(deliverService)
		for _, name := range strings.Fields(said) {
			whole = slices.Concat(whole, r[name])
		}
		if got := frames(t, talk(t, s.deliver, whole)); got != want {
			t.Errorf("%s: answered %q, want %q", said, got, want)
		}
		s.stop()
		if b.discarded != int(b.next) {
			t.Errorf("%s: %d of %d drafts given back", said, b.discarded, b.next)
		}
	}
	b := &box{}
	s := startServices(t, b)
	long := slices.Concat(helloFor(deliverService), r["resolve"], frame(resolveFrame, string(bytes.Repeat([]byte("x"), maxRequest+1))))
	if got := frames(t, talk(t, s.deliver, long)); got != "A" {
		t.Errorf("a request over its bound: answered %q", got)
	}
}
