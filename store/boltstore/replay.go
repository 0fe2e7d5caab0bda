package boltstore

import (
	"example.org/letterbox/store/seglog"
)

// replayer applies what Open replays, in batches, one while the next is read: a rebuild of any size takes the memory of two.
type replayer struct {
	index   *index
	state   state
	shown   *shown
	pending []*change
	writing chan error // of the batch that is being applied; nil: none is

	// A piece of memory for the next changes and their recipients: so many small ones cost the collector half of the time.
	changes    []change
	recipients []entryRef
	views      [8]recipientView // of one record
}

// buildBatch bounds one transaction of a replay: the larger, the more entries share a page that is written. Nobody waits for
// one, and two take half of the memory that a rebuild may have.
const buildBatch = indexBatch * 3 / 2

// replayPiece is how many changes share a piece of memory.
const replayPiece = 512

// next returns a change with room for recipients.
func (r *replayer) next() *change {
	if len(r.changes) == 0 {
		r.changes = make([]change, replayPiece)
	}
	if len(r.recipients) < len(r.views) {
		r.recipients = make([]entryRef, replayPiece)
	}
	c := &r.changes[0]
	r.changes = r.changes[1:]
	c.recipients = r.recipients[:0:len(r.views)]
	return c
}

func (r *replayer) apply(h *seglog.Header, pos seglog.Pos, head []byte, after seglog.Mark) error {
	c := r.next()
	if err := c.read(h, pos, head, r.views[:]); err != nil {
		return err
	}
	if n := len(c.recipients); n <= len(r.views) {
		c.recipients, r.recipients = c.recipients[:n:n], r.recipients[n:]
	}
	r.pending = append(r.pending, c)
	r.shown.add(c.size)
	r.state.pass([]*change{c}, after)
	if len(r.pending) < buildBatch {
		return nil
	}
	return r.flush()
}

// flush begins to write what was replayed so far, once what was begun before is written.
func (r *replayer) flush() error {
	if err := r.wait(); err != nil {
		return err
	}
	batch, after := r.pending, r.state
	r.pending, r.writing = make([]*change, 0, buildBatch), make(chan error, 1)
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
	pieces := parts(batch, buildBatch)
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
