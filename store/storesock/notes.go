package storesock

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.org/letterbox/store"
)

const (
	// maxNotes is how many notes wait to be sent: some 300 octets each, and 16 KiB at the most.
	maxNotes = 1024
	// noteTime is how long the first of them waits for others.
	noteTime = 100 * time.Millisecond
	// noteStall bounds how long one batch may take, and with it what a close waits.
	noteStall = time.Second
	// maxWord bounds the texts of a note that are no path.
	maxWord = 64
)

// appendNote appends one refusal. Of one whose paths are too many to fit into a frame the first stay.
func appendNote(b []byte, r *store.Refusal) []byte {
	b = appendCut(b, r.Session, maxWord)
	b = appendPeer(b, r.Peer)
	b = appendCut(b, r.From, store.MaxPath)
	b = appendCut(b, r.Verb, maxWord)
	b = binary.AppendUvarint(b, uint64(max(r.Code, 0)))
	b = appendCut(b, r.Reason, maxWord)
	b = binary.AppendUvarint(b, uint64(max(r.Octets, 0)))
	b = appendCut(b, r.MessageID, store.MaxMessageID)
	return appendPaths(b, r.To, maxNotedPaths)
}

// maxNotedPaths is how many forward-paths of a refused message are sent: so many always fit into a request with all the rest.
const maxNotedPaths = 40

func decodeNotes(b []byte) (lost uint64, refusals []store.Refusal, ok bool) {
	f := fields{b: b}
	lost = f.uint(math.MaxUint32)
	for len(f.b) > 0 {
		refusals = append(refusals, store.Refusal{
			Session: f.string(maxWord), Peer: f.peer(), From: f.string(store.MaxPath), Verb: f.string(maxWord), Code: int(f.uint(599)),
			Reason: f.string(maxWord), Octets: f.octets(), MessageID: f.string(store.MaxMessageID), To: f.paths(),
		})
	}
	return lost, refusals, f.end()
}

// note hands refusals on to a store that takes them.
func (d *deliverSession) note(lost uint64, refusals []store.Refusal) error {
	if noter, ok := d.deliverer.(store.Noter); ok {
		for _, r := range refusals {
			noter.Note(r)
		}
	}
	if lost > 0 {
		d.log.Warn().Uint64("notes", lost).Msg("refusals that the history lacks, since the receiver could not send them")
	}
	return d.wire.send(appendFrame(nil, answerFrame, nil))
}

// notes sends refusals to the owner, in the background.
type notes struct {
	pool  *pool
	queue chan store.Refusal
	lost  atomic.Uint64
	start sync.Once
	stop  chan struct{}
	done  chan struct{}

	mu     sync.Mutex
	closed bool
}

func newNotes(p *pool) *notes {
	return &notes{pool: p, queue: make(chan store.Refusal, maxNotes), stop: make(chan struct{}), done: make(chan struct{})}
}

// Note implements store.Noter.
func (d *Deliverer) Note(r store.Refusal) {
	d.notes.start.Do(func() { go d.notes.run() })
	r.To = slices.Clone(r.To[:min(len(r.To), maxNotedPaths)]) // the rest is not sent
	select {
	case d.notes.queue <- r:
	default:
		d.notes.lost.Add(1)
	}
}

// run sends what is queued until close.
func (n *notes) run() {
	defer close(n.done)
	var held *store.Refusal // did not fit into the batch before
	for {
		stopping := false
		if held == nil {
			select {
			case r := <-n.queue:
				held = &r
			case <-n.stop:
				stopping = true
			}
			select {
			case <-n.stop:
				stopping = true
			case <-time.After(noteTime):
			}
		}
		if stopping && held == nil && len(n.queue) == 0 {
			return
		}
		lost := min(n.lost.Swap(0), math.MaxUint32)
		var batch []byte
		var count uint64
		batch, count, held = n.batch(binary.AppendUvarint(nil, lost), held)
		if n.send(batch) {
			continue
		}
		n.lost.Add(lost + count)
		select {
		case <-n.stop: // the owner is away, and nobody waits for it
			return
		default:
		}
	}
}

// batch appends held, and from the queue what fits into one frame, and returns what did not.
func (n *notes) batch(batch []byte, held *store.Refusal) (_ []byte, count uint64, next *store.Refusal) {
	for {
		if held == nil {
			select {
			case r := <-n.queue:
				held = &r
			default:
				return batch, count, nil
			}
		}
		longer := appendNote(batch, held)
		if len(longer) > maxRequest {
			return batch, count, held
		}
		batch, held = longer, nil
		count++
	}
}

// send tells whether the owner has a batch.
func (n *notes) send(batch []byte) bool {
	ctx, cancel := context.WithTimeout(context.Background(), noteStall)
	defer cancel()
	w, _, err := n.pool.call(ctx, nil, appendFrame(nil, noteFrame, batch))
	if err != nil {
		return false
	}
	n.pool.put(w)
	return true
}

// close sends what is queued.
func (n *notes) close() {
	n.start.Do(func() { close(n.done) }) // nothing was noted
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.closed = true
		close(n.stop)
	}
	<-n.done
}
