package storesock

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"example.org/letterbox/store"
)

const (
	// answerTime is how long a client waits for an answer, and for the outcome of what it has committed, before it takes
	// the connection for broken. It is long because a disk may be slow; an owner that is gone is noticed at once.
	answerTime = 2 * time.Minute
	// cancelGrace is how long the outcome of a commit is waited for once the caller's context has ended: to give up
	// earlier would make a message that is durable an error.
	cancelGrace = 5 * time.Second
)

// Deliverer is a store.Deliverer at the other end of a socket. It connects when it is needed, and again after the owner was
// away; while the owner is, every call fails with store.ErrUnavailable at once. Each draft has a connection for itself while
// it is open, and so has each Resolve. Its methods may be called by any number of goroutines.
//
// With the answer to the first Resolve of a transaction comes the id of a draft for it, so that Begin need not ask. An owner
// that went away in between is noticed by Write or Commit, with store.ErrUnavailable as well.
type Deliverer struct {
	pool  *pool
	notes *notes
}

var (
	_ store.Deliverer = (*Deliverer)(nil)
	_ store.Noter     = (*Deliverer)(nil)
)

// NewDeliverer makes a Deliverer for the deliver socket at path. It does not connect.
func NewDeliverer(path string) *Deliverer {
	p := &pool{owner: owner{service: deliverService, path: path}}
	return &Deliverer{p, newNotes(p)}
}

// Ping returns nil when the owner is there and can be understood.
func (d *Deliverer) Ping(ctx context.Context) error {
	w, err := d.pool.owner.dial(ctx)
	if err != nil {
		return err
	}
	d.pool.put(w)
	return nil
}

// Close sends the notes that wait and closes the connections that nobody uses; those in use are closed with their drafts.
// Later calls fail.
func (d *Deliverer) Close() error {
	d.notes.close()
	d.pool.close()
	return nil
}

// errRequestSize is a request that was never sent.
var errRequestSize = fmt.Errorf("more than %d KiB in one request to the store", maxRequest>>10)

// Resolve implements store.Deliverer.
func (d *Deliverer) Resolve(ctx context.Context, a store.Attempt) (store.Target, error) {
	e := envelopeOf(a)
	w, answer, err := d.pool.call(ctx, &e, attemptFrame(a))
	if err != nil {
		return store.Target{}, err
	}
	t, id, ok := decodeTarget(answer)
	if !ok {
		w.conn.Close()
		return store.Target{}, transport(ctx, errFrame)
	}
	w.prepare(e, id)
	d.pool.put(w)
	return t, nil
}

// Begin implements store.Deliverer.
func (d *Deliverer) Begin(ctx context.Context, e store.Envelope) (store.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.Declared = max(e.Declared, 0)
	if w, id := d.pool.prepared(e, time.Now()); w != nil {
		return &draft{pool: d.pool, id: id, wire: w}, nil
	}
	w, answer, err := d.pool.call(ctx, nil, envelopeFrame(e))
	if err != nil {
		return nil, err
	}
	id, ok := decodeID(answer)
	if !ok {
		w.conn.Close()
		return nil, transport(ctx, errFrame)
	}
	return &draft{pool: d.pool, id: id, wire: w}, nil
}

// owner is how a client reaches one of the owner's services.
type owner struct {
	service, path string

	mu sync.Mutex
	id string // of the first store that was there
}

// dial connects and exchanges hellos.
func (o *owner) dial(ctx context.Context) (*wire, error) {
	if err := checkPath(o.path); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", o.path)
	if err != nil {
		return nil, fmt.Errorf("%w: can't reach the store's process at %s: %w", store.ErrUnavailable, o.path, reason(err))
	}
	w, err := o.meet(ctx, c)
	if err != nil {
		c.Close()
		return nil, err
	}
	return w, nil
}

// meet exchanges hellos on c.
func (o *owner) meet(ctx context.Context, c net.Conn) (*wire, error) {
	stop := breakOff(ctx, c)
	defer stop()
	w := newLink(c, clientStall, clientBuffer)
	// The server may refuse us and hang up without reading: what it said before counts, not that our hello got lost.
	sent := w.greet(hello{Service: o.service})
	h, err := w.greeting(o.service)
	if err == nil {
		err = sent
	}
	if err != nil {
		return nil, transport(ctx, err)
	}
	return w, o.recognize(h.Store)
}

// clientBuffer is what a connection reads ahead on the client's side, in octets.
const clientBuffer = 16 << 10

// recognize fails when another store is there than at first: a maildrop's number means nobody, or somebody else, in it.
func (o *owner) recognize(id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.id == "" {
		o.id = id
	}
	if id != o.id {
		return &StoreError{Ours: o.id, Theirs: id}
	}
	return nil
}

// remoteFailure is what a failure frame says; all other errors are the connection's.
type remoteFailure struct {
	err  error
	over bool // the owner closes the connection
}

func (f *remoteFailure) Error() string { return f.err.Error() }

// roundTrip sends request and reads the answer to it.
func roundTrip(ctx context.Context, w *wire, request []byte) ([]byte, error) {
	stop := breakOff(ctx, w.conn)
	err := w.send(request)
	var answer []byte
	if err == nil {
		answer, err = readAnswer(w)
	}
	if !stop() { // the connection is being closed
		return nil, context.Cause(ctx)
	}
	return answer, err
}

// readAnswer waits for an answer or a failure.
func readAnswer(w *wire) ([]byte, error) {
	kind, content, err := w.next(time.Now().Add(answerTime), maxFrame)
	if err != nil {
		return nil, unexpected(err)
	}
	return answerOf(kind, content)
}

// answerOf takes a frame that answers a request.
func answerOf(kind frameType, content []byte) ([]byte, error) {
	switch {
	case kind == answerFrame:
		return content, nil
	case (kind == failureFrame || kind == refusalFrame) && len(content) <= maxCode:
		return nil, &remoteFailure{err: errorOf(string(content)), over: kind == refusalFrame}
	}
	return nil, errFrame
}
