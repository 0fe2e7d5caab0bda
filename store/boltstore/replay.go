package boltstore

import (
	"example.org/letterbox/store/seglog"
)

// replayer applies what Open replays, in batches, one while the next is read: a rebuild of any size takes the memory of two.
type replayer struct {
	index   *index
	state   state
	shown   *shown
	batch   int // changes of one transaction
	pending []*change
	writing chan error // of the batch that is being applied; nil: none is

	// Pieces of memory for the changes and their recipients: so many small ones cost the collector half of the time. Those of a batch are
	// used again once it is written.
	changes    pieces[change]
	recipients pieces[entryRef]
	views      [8]recipientView // of one record
}

// pieces are slices of replayPiece elements, given out from one end to the other.
type pieces[T any] struct {
	left                 []T   // of the last of gathered
	gathered, busy, free [][]T // for the next batch; of the one that is being written; of those before
}

// room returns n elements at least, from which take takes some.
func (p *pieces[T]) room(n int) []T {
	if len(p.left) < n {
		if last := len(p.free) - 1; last >= 0 {
			p.left, p.free = p.free[last], p.free[:last]
		} else {
			p.left = make([]T, replayPiece)
		}
		p.gathered = append(p.gathered, p.left)
	}
	return p.left
}

func (p *pieces[T]) take(n int) { p.left = p.left[n:] }

// turn begins the next batch, when the one that is gathered is about to be written and the one before was.
func (p *pieces[T]) turn() {
	p.free = append(p.free, p.busy...)
	p.busy, p.gathered, p.left = p.gathered, p.busy[:0:0], nil
}

// buildBatch bounds one transaction of a replay: the larger, the more entries share a page that is written. Nobody waits for
// one, and two take half of the memory that a rebuild may have. A restore has less room, since it holds what it writes of the log, too.
const (
	buildBatch   = indexBatch * 3 / 2
	restoreBatch = indexBatch * 3 / 4
)

// replayPiece is how many changes share a piece of memory.
const replayPiece = 512

// next returns a change with room for recipients.
func (r *replayer) next() *change {
	c := &r.changes.room(1)[0]
	r.changes.take(1)
	c.recipients = r.recipients.room(len(r.views))[:0:len(r.views)]
	return c
}

func (r *replayer) apply(h *seglog.Header, pos seglog.Pos, head []byte, after seglog.Mark) error {
	c := r.next()
	if err := c.read(h, pos, head, r.views[:]); err != nil {
		return err
	}
	if n := len(c.recipients); n <= len(r.views) {
		c.recipients = c.recipients[:n:n]
		r.recipients.take(n)
	}
	r.pending = append(r.pending, c)
	r.shown.add(c.size)
	r.state.pass([]*change{c}, after)
	if len(r.pending) < r.batch {
		return nil
	}
	return r.flush()
}

// flush begins to write what was replayed so far, once what was begun before is written.
func (r *replayer) flush() error {
	if err := r.wait(); err != nil {
		return err
	}
	r.changes.turn()
	r.recipients.turn()
	batch, after := r.pending, r.state
	r.pending, r.writing = make([]*change, 0, r.batch), make(chan error, 1)
	go func() { r.writing <- r.write(batch, after) }()
	return nil
}

// wait returns once nothing is being written.
func (r *replayer) wait() error {
	if r.writing == nil {
		return nil
	}
	err := <-r.writing
	r.writing = nil
	return err
}

func (r *replayer) write(batch []*change, after state) (err error) {
	pieces := parts(batch, r.batch)
	for i, piece := range pieces {
		var at *state
		if i == len(pieces)-1 {
			at = &after
		}
		if _, err := r.index.apply(piece, at); err != nil { // the sweep finds the orphans
			return err
		}
	}
	return nil
}
