package boltstore

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"slices"
	"sync"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// log reads every record up to what the index holds.
func (v *verifier) log() error {
	st, _ := v.s.indexer.snapshot() // before it is looked which segments are sealed: the one that it ends in may be so by then
	v.last = st.lastID
	sealed, err := v.s.log.Sealed()
	if err != nil {
		return err
	}
	ends := []seglog.Pos{}
	total := st.mark.Offset
	for _, seg := range sealed {
		if seg.Number < st.mark.Segment {
			ends = append(ends, seglog.Pos{Segment: seg.Number})
			total += seg.Size
		}
	}
	ends = append(ends, st.mark.Pos)
	shown := newShown(v.ctx, total)
	err = inParallel(v.ctx, ends, func(ctx context.Context, end seglog.Pos) error {
		p := segmentPass{v: v, ctx: ctx, calm: gentle{s: v.s, others: verifyWorkers - 1}, shown: shown}
		err := p.walk(end)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.result.Records += p.records
		v.result.Octets += p.octets
		v.seen[end.Segment] = &p.seen
		return err
	})
	if err == nil {
		shown.end()
	}
	return err
}

// seenSegment is what the records of a segment that bring messages say that the index holds, in 12 octets for each of them. The
// index is read in its own order afterwards, which costs a tenth of looking up in it what each record says.
type seenSegment struct {
	offsets []uint32 // ascending
	refs    []uint32 // the seal of the references, if all recipients have it still
	entries []uint32 // the sum of the seals of the entries that were not met yet, if none lies in the bin; metBoth behind both
}

// metBoth stands for a message whose references were met, and all of its entries before. A sum of seals that is the same by
// chance costs a look at the message.
const metBoth = math.MaxUint32

// add notes what the index holds of a message. Behind 4 GiB of a segment, which one record alone can fill, nothing is noted:
// such a message is looked at by itself.
func (s *seenSegment) add(pos seglog.Pos, refs, entries uint32) {
	if pos.Offset <= math.MaxUint32 {
		s.offsets, s.refs, s.entries = append(s.offsets, uint32(pos.Offset)), append(s.refs, refs), append(s.entries, entries)
	}
}

// find returns the segment that has the record at pos, and the record's number in it.
func (v *verifier) find(pos seglog.Pos) (seg *seenSegment, i int, ok bool) {
	seg = v.seen[pos.Segment]
	if seg == nil || pos.Offset > math.MaxUint32 {
		return nil, 0, false
	}
	i, ok = slices.BinarySearch(seg.offsets, uint32(pos.Offset))
	return seg, i, ok
}

// inParallel calls f for each item from verifyWorkers goroutines, in about the order of the items, until one fails.
func inParallel[T any](ctx context.Context, items []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan T)
	var wg sync.WaitGroup
	for range verifyWorkers {
		wg.Go(func() {
			for item := range queue {
				if err := f(ctx, item); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for _, item := range items {
		select {
		case queue <- item:
		case <-ctx.Done():
		}
	}
	close(queue)
	wg.Wait()
	return context.Cause(ctx)
}

// segmentPass reads one segment.
type segmentPass struct {
	v     *verifier
	ctx   context.Context
	calm  gentle
	shown *shown

	records, octets int64
	at              int64 // offset behind what was shown
	seen            seenSegment

	// Of one record, kept for the next one.
	change change
	views  [8]recipientView
	refs   refs
	room   []byte
}

// walk reads the segment up to end; an offset of 0 stands for its end.
func (p *segmentPass) walk(end seglog.Pos) error {
	err := p.v.s.log.WalkWhole(end.Segment, end.Offset, func() bool { return p.calm.busy }, p.record)
	var corrupt *seglog.Corrupt
	switch {
	case errors.As(err, &corrupt):
		p.v.found(corrupt.ID, "%v", corrupt)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil // reclaimed meanwhile
	}
	return err
}

// restEvery is how many records pass between two looks at the time.
const restEvery = 16

func (p *segmentPass) record(h *seglog.Header, pos seglog.Pos, head []byte, intact bool) error {
	if p.records%restEvery == 0 {
		p.shown.add(pos.Offset - p.at)
		p.at = pos.Offset
		if err := errors.Join(p.ctx.Err(), p.calm.rest(p.ctx)); err != nil {
			return err
		}
	}
	p.records++
	c := &p.change
	if err := c.read(h, pos, head, p.views[:]); err != nil {
		p.v.found(h.ID, "%v", err)
		return nil
	}
	if !brings(h.Kind) {
		return nil
	}
	p.expect(c)
	if h.Flags&flagExternal == 0 {
		p.octets += int64(h.BodyLen)
		if !intact {
			return p.damaged(h, pos, "the checksum of its body does not match")
		}
		return nil
	}
	return p.outside(h, pos, head)
}

// expect notes what the index holds of a message.
func (p *segmentPass) expect(c *change) {
	var sum uint32
	for _, to := range c.recipients {
		to.binned = 0
		sum += p.v.entrySeal(c, to, &p.room)
	}
	p.refs.of(c)
	p.room = p.refs.appendTo(p.room[:0], c.id)
	p.seen.add(c.pos, sealOf(p.room), sum)
}

func (v *verifier) entrySeal(c *change, to entryRef, room *[]byte) uint32 {
	e := entryOf(c, to)
	b := appendEntryKey((*room)[:0], to.drop, c.seq)
	b = e.appendTo(b, b[:16:16])
	*room = b
	return sealOf(b[16:])
}

// outside checks a body that is a file, if somebody has the message.
func (p *segmentPass) outside(h *seglog.Header, pos seglog.Pos, head []byte) error {
	r, alive, err := p.v.s.index.refs(h.ID)
	if err != nil || !alive || r.pos != pos {
		return err // deleted or moved: what it held is not needed
	}
	m, err := messageOf(h.Kind, h.Flags, head)
	if err != nil {
		return err
	}
	p.octets += m.body.size
	reason, err := p.external(h, pos, &m)
	if err != nil || reason == "" {
		return err
	}
	return p.damaged(h, pos, reason)
}

// external says what is wrong with a body that is a file, empty for nothing.
func (p *segmentPass) external(h *seglog.Header, pos seglog.Pos, m *messageView) (reason string, err error) {
	rec, err := p.v.s.log.Read(pos, h.Size())
	if err != nil {
		return "", err
	}
	b, err := p.v.s.bodies.open(rec, m.body, &p.v.s.memory.next)
	if err == nil {
		return "", b.Close()
	}
	rec.Close() //nolint:errcheck // it never fails
	if corrupt := (*seglog.Corrupt)(nil); errors.As(err, &corrupt) {
		return corrupt.Reason, nil
	}
	return "", err
}

func (p *segmentPass) damaged(h *seglog.Header, pos seglog.Pos, reason string) error {
	if r, alive, err := p.v.s.index.refs(h.ID); err != nil || !alive || r.pos != pos {
		return err // deleted or moved: what it held is not needed
	}
	p.v.found(h.ID, "message %s is damaged: %s (%s)", store.ID(h.ID), reason, pos)
	return nil
}
