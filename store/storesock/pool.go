package storesock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.org/letterbox/store"
)

const (
	// maxIdle is how many connections that nobody uses are kept, each for idleTime; so it bounds what is prepared, too.
	maxIdle  = 64
	idleTime = time.Minute
)

// pool holds the connections that nobody uses.
type pool struct {
	owner  owner
	chunks sync.Pool // of *chunk

	mu     sync.Mutex
	idle   []idleWire // the one that was used last at the end
	closed bool
}

type idleWire struct {
	*wire
	since time.Time
}

// prepared is a draft that the owner began with the answer to a Resolve, for the Begin that follows.
type prepared struct {
	envelope store.Envelope
	id       store.ID
	at       time.Time
}

// prepare notes what an answer to a Resolve for e said of a draft.
func (c *wire) prepare(e store.Envelope, id *store.ID) {
	switch {
	case id == nil:
		c.ready = nil
	case c.ready == nil || c.ready.id != *id:
		c.ready = &prepared{envelope: e, id: *id, at: time.Now()}
	}
}

// get returns a connection, and whether it was used before. Only a draft that is prepared for e stays so.
func (p *pool) get(ctx context.Context, e *store.Envelope) (w *wire, used bool, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, errPoolClosed
	}
	if at := p.choose(e); at >= 0 {
		w = p.remove(at)
	}
	p.mu.Unlock()
	if w != nil {
		if e == nil || w.ready != nil && w.ready.envelope != *e {
			w.ready = nil
		}
		return w, true, nil
	}
	w, err = p.owner.dial(ctx)
	return w, false, err
}

// choose returns the place of the idle connection that serves e best, or -1 where a new one should: the one with its draft,
// else the one without a draft that was used last, else the oldest where there are as many as may be.
func (p *pool) choose(e *store.Envelope) int {
	best := -1
	if len(p.idle) == maxIdle {
		best = 0
	}
	for i := range p.idle {
		switch ready := p.idle[i].ready; {
		case ready == nil:
			best = i
		case e != nil && ready.envelope == *e:
			return i
		}
	}
	return best
}

func (p *pool) remove(at int) *wire {
	w := p.idle[at].wire
	p.idle = slices.Delete(p.idle, at, at+1)
	return w
}

// prepared returns the connection on which the draft of e is, and its id, or nil. One that is older than idleTime is left:
// nobody looks whether its owner is still there.
func (p *pool) prepared(e store.Envelope, now time.Time) (*wire, store.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.idle {
		ready := p.idle[i].ready
		if ready == nil || ready.envelope != e || now.Sub(ready.at) > idleTime {
			continue
		}
		w := p.remove(i)
		w.ready = nil
		return w, ready.id
	}
	return nil, store.ID{}
}

var errPoolClosed = fmt.Errorf("%w: this side is closing", store.ErrUnavailable)

// put gives back a connection on which nothing is under way.
func (p *pool) put(w *wire) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || w.r.Buffered() > 0 {
		w.conn.Close()
		return
	}
	now := time.Now()
	p.idle = append(p.idle, idleWire{w, now})
	if oldest := p.idle[0]; len(p.idle) > maxIdle || now.Sub(oldest.since) > idleTime {
		oldest.conn.Close()
		p.remove(0)
	}
}

// clear closes what is idle: one connection of the pool broke, so the owner may have been away.
func (p *pool) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.idle {
		w.conn.Close()
	}
	p.idle = nil
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.clear()
}

// call sends a request that does no harm when it is sent twice, and returns its answer and the connection, which is the
// caller's from then on. An error of the owner's gives the connection back. Where e is not nil, a connection on which the
// draft of e is prepared is the first choice, and it stays prepared; on any other the request ends what is.
func (p *pool) call(ctx context.Context, e *store.Envelope, request []byte) (*wire, []byte, error) {
	if len(request) > headLength+maxRequest {
		return nil, nil, errRequestSize
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		w, used, err := p.get(ctx, e)
		if err != nil {
			return nil, nil, err
		}
		answer, err := roundTrip(ctx, w, request)
		switch failure := (*remoteFailure)(nil); {
		case err == nil:
			return w, answer, nil
		case errors.As(err, &failure) && !failure.over: // a refusal is of a draft that was discarded on it before
			p.settle(w, err)
			return nil, nil, failure.err
		}
		w.conn.Close()
		if !used || ctx.Err() != nil {
			return nil, nil, transport(ctx, err)
		}
		p.clear() // its other end was closed meanwhile; a fresh one tells whether the owner is there
	}
}
