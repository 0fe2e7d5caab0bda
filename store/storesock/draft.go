package storesock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.org/letterbox/store"
)

// draft is a store.Draft at the other end of a socket. It holds up to bodyChunk octets of the body, so that a small message
// is one write together with what ends it.
type draft struct {
	pool *pool
	id   store.ID

	sending atomic.Pointer[wire] // what a Write waits for: Discard breaks it off, and waits for a Commit

	mu        sync.Mutex
	wire      *wire  // nil once it was given back or broke
	chunk     []byte // a data frame that has not been sent yet
	failed    error  // of a Write
	discarded bool
	committed bool
	outcome   error
}

var errDiscarded = errors.New("draft was discarded")

// ID implements store.Draft.
func (d *draft) ID() store.ID { return d.id }

// Write implements store.Draft. An error of the owner's may come as late as Commit.
func (d *draft) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.discarded || d.committed {
		return 0, errDiscarded
	}
	total := len(p)
	for len(p) > 0 && d.failed == nil {
		if len(d.chunk) == headLength+bodyChunk {
			d.flush()
			continue
		}
		if d.chunk == nil {
			d.chunk = d.pool.chunk()
		}
		n := min(len(p), headLength+bodyChunk-len(d.chunk))
		d.chunk = append(d.chunk, p[:n]...)
		p = p[n:]
	}
	return total - len(p), d.failed
}

// flush sends the octets that are held.
func (d *draft) flush() {
	d.sending.Store(d.wire)
	err := d.wire.send(closeFrame(d.chunk, 0, len(d.chunk)-headLength))
	d.sending.Store(nil)
	d.chunk = d.chunk[:headLength]
	if err != nil {
		d.failed = d.refusal(err)
	}
}

// refusal ends the connection, which can't be written any more, and returns what the owner said before it hung up.
func (d *draft) refusal(cause error) error {
	w := d.release()
	defer w.conn.Close()
	kind, content, err := w.next(time.Now().Add(clientStall), maxFrame)
	if err == nil {
		_, err = answerOf(kind, content)
	}
	if failure := (*remoteFailure)(nil); errors.As(err, &failure) {
		return failure.err
	}
	return transport(context.Background(), cause)
}

// release takes the connection away from the draft and gives its memory back.
func (d *draft) release() *wire {
	w := d.wire
	d.wire = nil
	if d.chunk != nil {
		d.pool.free(d.chunk)
		d.chunk = nil
	}
	return w
}

// Commit implements store.Draft. When the answer gets lost it asks once over a new connection; when that does not help
// either, the outcome is unknown and the error store.ErrUnavailable.
func (d *draft) Commit(ctx context.Context, f store.Final) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.committed:
		return d.outcome
	case d.discarded:
		return errDiscarded
	case d.failed != nil: // there would be a hole
		return d.failed
	}
	if err := checkFinal(f); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d.committed = true
	d.outcome = d.commit(ctx, f)
	return d.outcome
}

func (d *draft) commit(ctx context.Context, f store.Final) error {
	if d.chunk == nil {
		d.chunk = d.pool.chunk()
	}
	b := d.chunk[:0]
	if body := len(d.chunk) - headLength; body > 0 {
		b = closeFrame(d.chunk, 0, body)
	}
	b = appendParts(b, encodeFinal(f), maxFrame)
	if err := d.wire.send(b); err != nil { // so the end frame did not get there
		return d.refusal(err)
	}
	answer, err := d.pool.await(ctx, d.release())
	switch failure := (*remoteFailure)(nil); {
	case err == nil && len(answer) == 0:
		return nil
	case errors.As(err, &failure):
		return failure.err
	}
	return d.pool.ask(ctx, d.id)
}

// await reads the outcome of what was sent over w, and has no more use for it then. It goes on for a while when ctx has
// ended.
func (p *pool) await(ctx context.Context, w *wire) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { w.stopReading(time.Now().Add(cancelGrace)) })
	answer, err := readAnswer(w)
	if stop() {
		p.settle(w, err)
	} else { // its deadline is of no use to another
		w.conn.Close()
	}
	return answer, err
}

// settle gives w back, or closes it where an answer was an error that leaves it of no more use.
func (p *pool) settle(w *wire, err error) {
	if failure := (*remoteFailure)(nil); err == nil || errors.As(err, &failure) && !failure.over {
		p.put(w)
		return
	}
	w.conn.Close()
}

// ask asks over a new connection what became of a draft. It returns nil only when the owner says that it is durable.
func (p *pool) ask(ctx context.Context, id store.ID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	w, err := p.owner.dial(ctx)
	if err != nil {
		return err
	}
	answer, err := roundTrip(ctx, w, appendFrame(nil, askFrame, id[:]))
	p.settle(w, err)
	switch failure := (*remoteFailure)(nil); {
	case err == nil && len(answer) == 0:
		return nil
	case errors.As(err, &failure):
		return failure.err
	}
	return fmt.Errorf("%w: what became of message %s is not known", store.ErrUnavailable, id)
}

// chunkRoom is what follows the last of a small body in the same write, mostly.
const chunkRoom = 2 << 10

type chunk = [headLength + bodyChunk + chunkRoom]byte

// chunk returns memory for a data frame, which begins in it.
func (p *pool) chunk() []byte {
	c, ok := p.chunks.Get().(*chunk)
	if !ok {
		c = new(chunk)
	}
	c[0] = byte(dataFrame)
	return c[:headLength]
}

func (p *pool) free(b []byte) { p.chunks.Put((*chunk)(b[:len(chunk{})])) }

// Discard implements store.Draft.
func (d *draft) Discard() {
	if !d.mu.TryLock() {
		if w := d.sending.Load(); w != nil {
			w.conn.Close()
		}
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	d.discarded = true
	if d.wire == nil {
		return
	}
	w := d.release()
	if w.send(appendFrame(nil, discardFrame, nil)) != nil {
		w.conn.Close()
		return
	}
	d.pool.put(w)
}
