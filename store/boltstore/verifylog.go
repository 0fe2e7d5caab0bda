package boltstore

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// log reads every record up to what the index holds.
func (v *verifier) log() error {
	sealed, err := v.s.log.Sealed()
	if err != nil {
		return err
	}
	st, _ := v.s.indexer.snapshot()
	v.last = st.lastID
	ends := []seglog.Pos{}
	for _, seg := range sealed {
		if seg.Number < st.mark.Segment {
			ends = append(ends, seglog.Pos{Segment: seg.Number})
		}
	}
	ends = append(ends, st.mark.Pos)
	return inParallel(v.ctx, ends, func(ctx context.Context, end seglog.Pos) error {
		p := segmentPass{v: v, ctx: ctx, calm: gentle{s: v.s}}
		err := p.walk(end)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.result.Records += p.records
		v.result.Messages += p.messages
		v.result.Octets += p.octets
		v.seen[end.Segment] = &p.seen
		return err
	})
}

// seenSegment are the records of a segment whose references and entries fit.
type seenSegment struct {
	offsets []uint32 // ascending
	owners  []uint32 // of each the checksum of the key of its one entry; where there are several, 0
}

func ownerOf(key []byte) uint32 { return crc32.Checksum(key, castagnoli()) }

// saw tells whether the record at pos was seen, and the owner of its one entry.
func (v *verifier) saw(pos seglog.Pos) (owner uint32, ok bool) {
	seg := v.seen[pos.Segment]
	if seg == nil || pos.Offset > math.MaxUint32 {
		return 0, false
	}
	i, ok := slices.BinarySearch(seg.offsets, uint32(pos.Offset))
	if ok {
		owner = seg.owners[i]
	}
	return owner, ok
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
	v    *verifier
	ctx  context.Context
	calm gentle

	records, messages, octets int64
	seen                      seenSegment
}

// walk reads the segment up to end; an offset of 0 stands for its end.
func (p *segmentPass) walk(end seglog.Pos) error {
	err := p.v.s.log.WalkWhole(end.Segment, end.Offset, p.record)
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

func (p *segmentPass) record(h *seglog.Header, pos seglog.Pos, head []byte, intact bool) error {
	if err := errors.Join(p.ctx.Err(), p.calm.rest(p.ctx)); err != nil {
		return err
	}
	p.records++
	if _, err := changeOf(h, pos, head); err != nil {
		p.v.found(h.ID, "%v", err)
		return nil
	}
	if !brings(h.Kind) {
		return nil
	}
	m, err := messageOf(h.Kind, h.Flags, head)
	if err != nil {
		return err
	}
	var r refs
	var alive, fits bool
	err = p.v.s.index.db.View(func(tx *bbolt.Tx) error {
		value := tx.Bucket(bucketIDs).Get(h.ID[:])
		if alive = value != nil; !alive {
			return nil
		}
		if !r.decode(h.ID, value) {
			return fmt.Errorf("%w: the references of %s can't be read", errIndex, store.ID(h.ID))
		}
		fits = r.pos == pos && r.size == h.Size() && entriesFit(tx, h, &m, h.ID, &r) == nil
		return nil
	})
	if err != nil || !alive || r.pos != pos {
		return err // deleted or moved: what it held is not needed
	}
	if fits && pos.Offset <= math.MaxUint32 { // else the index's pass says what is wrong
		var owner uint32
		if len(r.drops) == 1 {
			owner = ownerOf(entryKey(r.drops[0], r.seq))
		}
		p.seen.offsets, p.seen.owners = append(p.seen.offsets, uint32(pos.Offset)), append(p.seen.owners, owner)
	}
	return p.message(h, pos, &m, intact)
}

// message checks the body of a message that somebody has.
func (p *segmentPass) message(h *seglog.Header, pos seglog.Pos, m *messageView, intact bool) error {
	p.messages++
	p.octets += int64(h.BodyLen) + m.body.size
	if h.Flags&flagExternal != 0 {
		reason, err := p.external(h, pos, m)
		if err != nil || reason == "" {
			return err
		}
		return p.damaged(h, pos, reason)
	}
	if !intact {
		return p.damaged(h, pos, "the checksum of its body does not match")
	}
	return nil
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
	if _, alive, err := p.v.s.index.refs(h.ID); err != nil || !alive {
		return err // deleted meanwhile
	}
	p.v.found(h.ID, "message %s is damaged: %s (%s)", store.ID(h.ID), reason, pos)
	return nil
}
