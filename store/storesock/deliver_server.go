package storesock

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

// deliverServer is the owner's side of the deliver service.
type deliverServer struct {
	service
	deliverer store.Deliverer
	outcomes  *outcomes
	finals    atomic.Int64 // octets that are held of long Finals, up to finalMemory
	pieces    sync.Pool    // of *[bodyChunk]byte
}

func newDeliverServer(d store.Deliverer, log zerolog.Logger) *deliverServer {
	return &deliverServer{
		service: newService(deliverService, d, log), deliverer: d, outcomes: newOutcomes(),
		pieces: sync.Pool{New: func() any { return new([bodyChunk]byte) }},
	}
}

// ServeDeliver answers on l for d, until ctx ends or l is closed: then it closes l and what is idle, gives drafts that are
// under way 5 seconds, waits for commits, and returns nil. At most 2,500 connections are served at once; who may connect is
// for the permissions of the socket to say. Where d has a method StoreID() string, its answer is told to each client. Where
// it has Committed(context.Context, store.ID) (bool, error), that is asked for drafts that were committed before ServeDeliver
// began; where it is a store.CanaryWatch, for the peers of the receiver's connections.
func ServeDeliver(ctx context.Context, l net.Listener, d store.Deliverer, log zerolog.Logger) error {
	s := newDeliverServer(d, log)
	return serveConns(ctx, l, s.log, s.session)
}

// deliverSession is one connection of a receiver: one request or one draft at a time.
type deliverSession struct {
	*deliverServer
	wire *wire

	phase    atomic.Int64   // what a stop finds: idlePhase, openPhase, or when the draft was prepared, in Unix nanoseconds
	draft    store.Draft    // nil while none is prepared or open
	envelope store.Envelope // of the draft
	outcome  *outcome
	final    []byte // what came of the Final
	hasParts bool
	reserved int64 // of finals
	small    [512]byte
}

func (s *deliverServer) session(ctx context.Context, c net.Conn) {
	defer c.Close()
	w, leave, err := s.welcome(c)
	defer leave()
	if err != nil {
		s.ended(ctx, err)
		return
	}
	d := &deliverSession{deliverServer: s, wire: w}
	defer d.drop()
	stop := context.AfterFunc(ctx, func() { w.stopReading(d.lastRead(time.Now())) })
	defer stop()
	for err == nil {
		err = d.step(ctx)
	}
	s.ended(ctx, err)
}

const (
	idlePhase = 0
	openPhase = -1
)

// lastRead is how long a service that stops now reads. The client of a draft that was prepared not long ago may have begun
// it.
func (d *deliverSession) lastRead(now time.Time) time.Time {
	switch phase := d.phase.Load(); phase {
	case idlePhase:
		return now
	case openPhase:
		return now.Add(d.grace)
	default:
		return time.Unix(0, phase).Add(d.grace)
	}
}

// step reads one frame and does what it says. An error ends the connection.
func (d *deliverSession) step(ctx context.Context) error {
	var until time.Time // none: a draft is as slow as its sender, whom the receiver watches, and ends with its connection
	limit := maxFrame
	if d.draft == nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		until, limit = time.Now().Add(d.idle), maxRequest
	}
	kind, n, err := d.wire.head(until, limit)
	if err != nil { // also one that ends here: the draft is aborted
		return err
	}
	ctx = context.WithoutCancel(ctx) // what came whole is answered, also while the service stops
	if d.phase.Load() != openPhase {
		switch kind {
		case resolveFrame, beginFrame, askFrame, noteFrame, canaryFrame:
			return d.request(ctx, kind, n)
		}
		if d.draft == nil {
			return errFrame
		}
		d.phase.Store(openPhase)
	}
	return d.compose(ctx, kind, n)
}

// compose does what may be said while a draft is open.
func (d *deliverSession) compose(ctx context.Context, kind frameType, n int) error {
	switch {
	case kind == dataFrame && n > 0 && !d.hasParts:
		return d.data(n)
	case kind == partFrame && n > 0:
		return d.part(n)
	case kind == endFrame && n == 0 && d.hasParts:
		return d.commit(ctx)
	case kind == discardFrame && n == 0:
		d.drop()
		return nil
	}
	return errFrame
}

// request reads the rest of what may come while no draft is open, and answers it.
func (d *deliverSession) request(ctx context.Context, kind frameType, n int) error {
	if n > maxRequest {
		return errFrame
	}
	b := d.small[:]
	if n > len(b) {
		b = make([]byte, n)
	}
	b = b[:n]
	if err := d.wire.content(b); err != nil {
		return err
	}
	switch kind {
	case resolveFrame:
		if a, ok := decodeAttempt(b); ok {
			return d.resolve(ctx, a)
		}
	case beginFrame:
		if e, ok := decodeEnvelope(b); ok {
			return d.begin(ctx, e)
		}
	case askFrame:
		if id, ok := decodeID(b); ok {
			return d.ask(ctx, id)
		}
	case canaryFrame:
		if peer, ok := decodePeer(b); ok {
			return d.canary(ctx, peer)
		}
	case noteFrame:
		if lost, refusals, ok := decodeNotes(b); ok {
			return d.note(lost, refusals)
		}
	}
	return errFrame
}

func (d *deliverSession) resolve(ctx context.Context, a store.Attempt) error {
	e := envelopeOf(a)
	if e != d.envelope {
		d.drop()
	}
	t, err := d.deliverer.Resolve(ctx, a)
	if err == nil && len(t.Maildrops) > maxTargets {
		err = errors.New("an alias with more targets than fit into an answer")
	}
	if err != nil {
		return d.fail("resolve", a.Session, err)
	}
	if d.draft == nil {
		if err := d.prepare(ctx, e); err != nil { // a Begin that fails is asked for, and told, by itself
			return d.wire.send(targetFrame(t))
		}
	}
	return d.wire.send(targetFrame(t, d.draft.ID()))
}

// prepare begins a draft that its client may use, or not.
func (d *deliverSession) prepare(ctx context.Context, e store.Envelope) error {
	draft, err := d.deliverer.Begin(ctx, e)
	if err != nil {
		return err
	}
	// It is known from now on: one who asks for it may be ahead of what was said on this connection.
	d.draft, d.envelope, d.outcome = draft, e, d.outcomes.begin(draft.ID())
	d.phase.Store(time.Now().UnixNano())
	return nil
}

func (d *deliverSession) begin(ctx context.Context, e store.Envelope) error {
	d.drop()
	if err := d.prepare(ctx, e); err != nil {
		return d.fail("begin", e.Session, err)
	}
	d.phase.Store(openPhase)
	id := d.draft.ID()
	return d.wire.send(appendFrame(nil, answerFrame, id[:]))
}

// data passes n octets of the body on, as they come: no more than a piece of them is held.
func (d *deliverSession) data(n int) error {
	piece := d.pieces.Get().(*[bodyChunk]byte)
	defer d.pieces.Put(piece)
	for n > 0 {
		b := piece[:min(n, bodyChunk)]
		if err := d.wire.content(b); err != nil {
			return err
		}
		if _, err := d.draft.Write(b); err != nil {
			code := d.failed("write", d.envelope.Session, err)
			if err := d.wire.send(appendFrame(nil, refusalFrame, []byte(code))); err != nil {
				return err
			}
			return errRefused // what is on its way need not be read
		}
		n -= len(b)
	}
	return nil
}

// part holds the next n octets of the Final.
func (d *deliverSession) part(n int) error {
	d.hasParts = true
	have := len(d.final)
	if have+n > maxFinal {
		return errFrame
	}
	if need := int64(have+n) - freeFinal - d.reserved; need > 0 {
		d.reserved += need
		if d.finals.Add(need) > finalMemory {
			return errFinals
		}
	}
	d.final = append(d.final, make([]byte, n)...)
	return d.wire.content(d.final[have:])
}

var errFinals = errors.New("too many messages with many recipients at once")

func (d *deliverSession) commit(ctx context.Context) error {
	f, ok := decodeFinal(d.final)
	if !ok {
		return errFrame
	}
	if !d.outcomes.commit(d.outcome) {
		return errFrame // one who asked was told that it is not there
	}
	err := d.draft.Commit(ctx, f)
	d.outcomes.finish(d.outcome, err, time.Now())
	sid := d.envelope.Session
	d.drop()
	if err != nil {
		return d.fail("commit", sid, err)
	}
	return d.wire.send(appendFrame(nil, answerFrame, nil))
}

// drop forgets the draft that is prepared or open, if one is.
func (d *deliverSession) drop() {
	if d.draft == nil {
		return
	}
	d.outcomes.drop(d.outcome)
	d.draft.Discard()
	d.finals.Add(-d.reserved)
	d.draft, d.envelope, d.outcome, d.final, d.hasParts, d.reserved = nil, store.Envelope{}, nil, nil, false, 0
	d.phase.Store(idlePhase)
}

// ask answers one whose answer to a commit got lost.
func (d *deliverSession) ask(ctx context.Context, id store.ID) error {
	err, known := d.outcomes.ask(ctx, id)
	if !known {
		err = d.lookUp(ctx, id)
	}
	if err != nil {
		return d.fail("ask", "", err)
	}
	return d.wire.send(appendFrame(nil, answerFrame, nil))
}

// lookUp returns nil only when the store holds the message, as one that was restarted since knows.
func (d *deliverSession) lookUp(ctx context.Context, id store.ID) error {
	known, ok := d.deliverer.(interface {
		Committed(ctx context.Context, id store.ID) (bool, error)
	})
	if !ok {
		return store.ErrUnavailable
	}
	switch committed, err := known.Committed(ctx, id); {
	case err != nil:
		return err
	case !committed:
		return store.ErrUnavailable
	}
	return nil
}

// fail tells the client the code of an error.
func (d *deliverSession) fail(what, session string, err error) error {
	return d.wire.send(appendFrame(nil, failureFrame, []byte(d.failed(what, session, err))))
}
