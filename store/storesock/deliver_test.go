package storesock

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// TestDeliverCodecs: what is sent is what comes, and every truncation of it is refused.
func TestDeliverCodecs(t *testing.T) {
	a := store.Attempt{Session: "s", Peer: netip.MustParseAddr("fe80::1%eth0"), From: "f@x", To: "t@x", Size: 1 << 40}
	e := store.Envelope{Session: "s", From: "f@x", Declared: 9}
	target := store.Target{Maildrops: []store.MaildropID{1, 1<<64 - 1}}
	id := store.ID{1, 15: 2}
	for _, c := range []struct {
		name   string
		b      []byte
		decode func([]byte) (any, bool)
		want   any
	}{
		{"attempt", attemptFrame(a)[headLength:], func(b []byte) (any, bool) { v, ok := decodeAttempt(b); return v, ok }, a},
		{"envelope", envelopeFrame(e)[headLength:], func(b []byte) (any, bool) { v, ok := decodeEnvelope(b); return v, ok }, e},
		{"target", targetFrame(target)[headLength:], func(b []byte) (any, bool) { v, _, ok := decodeTarget(b); return v, ok }, target},
		{"prepared", targetFrame(target, id)[headLength:], func(b []byte) (any, bool) { _, v, ok := decodeTarget(b); return v, ok }, &id},
		{"final", encodeFinal(final()), func(b []byte) (any, bool) { v, ok := decodeFinal(b); return v, ok }, final()},
		{"id", id[:], func(b []byte) (any, bool) { v, ok := decodeID(b); return v, ok }, id},
	} {
		if got, ok := c.decode(c.b); !ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v", c.name, got, ok)
		}
		for n := range c.b {
			if _, ok := c.decode(c.b[:n]); ok {
				t.Errorf("%s: the first %d of %d octets were taken", c.name, n, len(c.b))
			}
		}
		if _, ok := c.decode(append(c.b[:len(c.b):len(c.b)], 0)); ok {
			t.Errorf("%s: an octet too many was taken", c.name)
		}
	}
}

// TestDeliverErrors: an error comes as itself, without its text, and the connection goes on.
func TestDeliverErrors(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	d := s.deliverer(t)
	for _, n := range names() {
		b.resolveErr, b.beginErr = errors.Join(n.err, errors.New("/var/lib/secret")), n.err
		_, err := d.Resolve(t.Context(), store.Attempt{To: "x"})
		wantErr(t, "resolve", err, n.err)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("internal text: %v", err)
		}
		_, err = d.Begin(t.Context(), store.Envelope{})
		wantErr(t, "begin", err, n.err)
	}
	b.resolveErr, b.beginErr = errors.New("disk on fire"), nil
	_, err := d.Resolve(t.Context(), store.Attempt{To: "x"})
	wantErr(t, "an error without a name", err, store.ErrUnavailable)
	_, err = d.Resolve(t.Context(), store.Attempt{To: strings.Repeat("x", maxRequest)})
	if err == nil || !store.Temporary(err) {
		t.Errorf("too long: %v", err)
	}
	b.commitErr = store.ErrFull
	wantErr(t, "commit", begin(t, d).Commit(t.Context(), final()), store.ErrFull)
	if len(d.pool.idle) != 1 {
		t.Errorf("%d idle connections, want that one", len(d.pool.idle))
	}
}

// TestDeliverRefusedEarly: what the owner has no room for is not sent to its end.
func TestDeliverRefusedEarly(t *testing.T) {
	b := &box{writeErr: store.ErrFull}
	d := startServices(t, b).deliverer(t)
	draft := begin(t, d)
	piece := make([]byte, bodyChunk)
	var err error
	sent := 0
	for ; err == nil && sent < 50<<20; sent += len(piece) {
		_, err = draft.Write(piece)
	}
	wantErr(t, "a large body", err, store.ErrFull)
	if sent > 4<<20 {
		t.Errorf("%d octets were sent", sent)
	}
	wantErr(t, "its commit", draft.Commit(t.Context(), final()), store.ErrFull)
	small := begin(t, d)
	if _, err := small.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a small body", small.Commit(t.Context(), final()), store.ErrFull)
	b.writeErr = nil
	if err := begin(t, d).Commit(t.Context(), final()); err != nil {
		t.Error(err)
	}
}

// TestDeliverLargest: the largest Final that the package store allows comes through.
func TestDeliverLargest(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	f := store.Final{Trace: make([]byte, store.MaxTrace), Recipients: make([]store.Recipient, store.MaxRecipients)}
	for i := range f.Recipients {
		f.Recipients[i] = store.Recipient{Maildrop: 1<<64 - 1, Prefix: make([]byte, store.MaxPrefix)}
	}
	d := s.deliverer(t)
	if err := begin(t, d).Commit(t.Context(), f); err != nil || len(b.messages[0]) != store.MaxTrace {
		t.Errorf("%v", err)
	}
	if held := s.d.finals.Load(); held != 0 {
		t.Errorf("%d octets of it are still accounted for", held)
	}
	s.d.finals.Store(finalMemory) // others hold all there is
	wantErr(t, "no room for it", begin(t, d).Commit(t.Context(), f), store.ErrUnavailable)
	if err := begin(t, d).Commit(t.Context(), final()); err != nil {
		t.Errorf("a small one beside: %v", err)
	}
	f.Recipients = append(f.Recipients, f.Recipients[0])
	if err := begin(t, d).Commit(t.Context(), f); err == nil || b.count() != 2 {
		t.Errorf("too many recipients: %v", err)
	}
}

// TestOwnerComesAndGoes: a Deliverer goes on by itself.
func TestOwnerComesAndGoes(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	s.stop()
	s.d.grace = time.Millisecond
	s.start(t)
	d, p := s.deliverer(t), NewPickup(s.pickup)
	for range 3 {
		if _, err := d.Resolve(t.Context(), store.Attempt{}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Ping(t.Context()), p.Ping(t.Context())); err != nil {
			t.Fatal(err)
		}
		draft := begin(t, d)
		s.stop()
		begun := time.Now()
		_, err := d.Resolve(t.Context(), store.Attempt{})
		wantErr(t, "resolve", err, store.ErrUnavailable)
		wantErr(t, "the open draft", draft.Commit(t.Context(), final()), store.ErrUnavailable)
		_, err = p.Open(t.Context(), secretLogin())
		wantErr(t, "open", err, store.ErrUnavailable)
		wantErr(t, "ping", d.Ping(t.Context()), store.ErrUnavailable)
		if took := time.Since(begun); took >= helloTime { // which is what one that waits takes at least
			t.Errorf("it took %v to say so", took)
		}
		s.start(t)
	}
	if b.count() != 0 {
		t.Errorf("%d messages", b.count())
	}
}

// TestOtherStore: with another store behind the socket the number of a maildrop means somebody else.
func TestOtherStore(t *testing.T) {
	s := startServices(t, &box{})
	d := s.deliverer(t)
	if err := d.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.d.id = "0ther"
	s.start(t)
	_, err := d.Resolve(t.Context(), store.Attempt{})
	var mismatch *StoreError
	if !errors.As(err, &mismatch) || *mismatch != (StoreError{Ours: boxID, Theirs: "0ther"}) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

// TestDeliverStop: a commit under way is finished and answered, an idle connection is closed, and a draft has some time.
func TestDeliverStop(t *testing.T) {
	b := &box{}
	entered, goOn := make(chan struct{}), make(chan struct{})
	b.beforeCommit = func() { close(entered); <-goOn }
	s := startServices(t, b)
	d := s.deliverer(t)
	late := begin(t, d)
	result := make(chan error, 1)
	draft := begin(t, d)
	go func() { result <- draft.Commit(context.Background(), final()) }()
	<-entered
	var stopped sync.WaitGroup
	stopped.Go(s.stop)
	soon(t, "the end of listening", func() bool { return errors.Is(NewDeliverer(s.deliver).Ping(t.Context()), store.ErrUnavailable) })
	b.beforeCommit = nil
	close(goOn)
	if err := <-result; err != nil {
		t.Errorf("the commit: %v", err)
	}
	if err := late.Commit(t.Context(), final()); err != nil {
		t.Errorf("a draft under way: %v", err)
	}
	stopped.Wait()
	if b.count() != 2 {
		t.Errorf("%d messages", b.count())
	}
}

// TestDiscard frees the owner's draft and keeps the connection; also beside a Write that waits.
func TestDiscard(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	d := s.deliverer(t)
	for range 5 {
		draft := begin(t, d)
		draft.Write([]byte("x")) //nolint:errcheck // it is held
		draft.Discard()
	}
	soon(t, "discarding", func() bool { return see(b, func() int { return b.discarded }) == 5 })
	if len(d.pool.idle) != 1 {
		t.Errorf("%d idle connections", len(d.pool.idle))
	}
	var wg sync.WaitGroup
	for range 20 {
		draft := begin(t, d)
		wg.Go(func() {
			for piece := make([]byte, bodyChunk); ; {
				if _, err := draft.Write(piece); err != nil {
					return
				}
			}
		})
		wg.Go(draft.Discard)
	}
	wg.Wait()
	soon(t, "discarding", func() bool { return see(b, func() int { return b.discarded }) == 25 })
	if b.count() != 0 {
		t.Error("a discarded draft was committed")
	}
}

// TestCommitEndsWithContext: a commit is not sent once its context has ended.
func TestCommitEndsWithContext(t *testing.T) {
	b := &box{}
	d := startServices(t, b).deliverer(t)
	ctx, cancel := context.WithCancel(t.Context())
	draft := begin(t, d)
	cancel()
	wantErr(t, "commit", draft.Commit(ctx, final()), context.Canceled)
	_, err := d.Resolve(ctx, store.Attempt{})
	wantErr(t, "resolve", err, context.Canceled)
	if b.count() != 0 {
		t.Error("it was committed")
	}
}

// TestTooManyDeliveries: a full house says so at once, and no draft suffers.
func TestTooManyDeliveries(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	s.stop()
	s.d.slots = make(chan struct{}, 1)
	s.start(t)
	d := s.deliverer(t)
	draft := begin(t, d)
	_, err := d.Resolve(t.Context(), store.Attempt{})
	wantErr(t, "the second", err, store.ErrUnavailable)
	if err := draft.Commit(t.Context(), final()); err != nil {
		t.Error(err)
	}
}

// TestLateRefusal: what the owner says of a draft that was discarded meanwhile is no answer to the next request.
func TestLateRefusal(t *testing.T) {
	discarded, asked := make(chan struct{}), make(chan struct{})
	b := &box{writeErr: store.ErrFull, beforeWrite: func() { <-discarded }}
	s := startServices(t, b)
	d := s.deliverer(t)
	aborted := begin(t, d)
	if _, err := aborted.Write(make([]byte, bodyChunk+1)); err != nil { // the first chunk is sent
		t.Fatal(err)
	}
	aborted.Discard()
	go func() {
		defer close(asked)
		if _, err := d.Resolve(t.Context(), store.Attempt{To: "x"}); err != nil {
			t.Errorf("another request: %v", err)
		}
	}()
	soon(t, "the request", func() bool { d.pool.mu.Lock(); defer d.pool.mu.Unlock(); return len(d.pool.idle) == 0 })
	close(discarded)
	<-asked
}
