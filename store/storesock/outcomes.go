package storesock

import (
	"context"
	"sync"
	"time"

	"example.org/letterbox/store"
)

const (
	// outcomeTime is how long, and maxOutcomes how many, outcomes are kept for those whose answer got lost: about 100
	// octets each. Whoever asks does so at once.
	outcomeTime = 2 * time.Minute
	maxOutcomes = 32768
	// askTime is how long one who asks waits for a draft that is still open. Its connection is closed by then, so that
	// what it said last is about to be read.
	askTime = 10 * time.Second
)

type draftState uint8

const (
	draftOpen draftState = iota
	draftCommitting
	draftDone   // err is the outcome
	draftGone   // discarded, or its connection ended before it was to be committed
	draftFenced // one who asked was told that it is not there, so it must not come
)

// outcome is what is known of one draft.
type outcome struct {
	id    store.ID
	state draftState
	err   error
	at    time.Time
	done  chan struct{} // made by the first who waits
}

// outcomes knows every draft that is open, and for a while those that were committed.
type outcomes struct {
	askTime time.Duration

	mu    sync.Mutex
	known map[store.ID]*outcome
	order []*outcome // those that are done, the oldest first
}

func newOutcomes() *outcomes {
	return &outcomes{askTime: askTime, known: map[store.ID]*outcome{}}
}

// begin enters a draft.
func (t *outcomes) begin(id store.ID) *outcome {
	o := &outcome{id: id}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[id] = o
	return o
}

// commit tells whether o may be committed; then done must be called.
func (t *outcomes) commit(o *outcome) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.state != draftOpen {
		return false
	}
	o.state = draftCommitting
	return true
}

// finish notes the outcome of a commit.
func (t *outcomes) finish(o *outcome, err error, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o.err, o.at = err, now
	t.settle(o, draftDone)
	t.order = append(t.order, o)
	for len(t.order) > maxOutcomes || now.Sub(t.order[0].at) > outcomeTime {
		if oldest := t.order[0]; t.known[oldest.id] == oldest {
			delete(t.known, oldest.id)
		}
		t.order[0] = nil
		t.order = t.order[1:]
	}
}

// drop forgets a draft that will not be committed. After finish it does nothing.
func (t *outcomes) drop(o *outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.state == draftOpen {
		t.settle(o, draftGone)
		delete(t.known, o.id)
	}
}

// settle moves o to a state in which nothing changes any more.
func (t *outcomes) settle(o *outcome, s draftState) {
	o.state = s
	if o.done != nil {
		close(o.done)
	}
}

// ask returns the outcome of a draft, waiting for one that is under way. Where known is false the draft was not committed
// as far as the table reaches back, and one that was open will not be any more.
func (t *outcomes) ask(ctx context.Context, id store.ID) (err error, known bool) {
	t.mu.Lock()
	o := t.known[id]
	if o == nil {
		t.mu.Unlock()
		return nil, false
	}
	if o.state < draftDone && o.done == nil {
		o.done = make(chan struct{})
	}
	done := o.done
	t.mu.Unlock()
	if done != nil {
		timer := time.NewTimer(t.askTime)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return t.decide(o)
}

// decide is what one who asked is told.
func (t *outcomes) decide(o *outcome) (err error, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch o.state {
	case draftDone:
		return o.err, true
	case draftCommitting:
		return store.ErrUnavailable, true // it may still come: nothing better can be said
	case draftOpen:
		t.settle(o, draftFenced)
		delete(t.known, o.id)
	}
	return nil, false
}
