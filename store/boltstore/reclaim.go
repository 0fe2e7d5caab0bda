package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

const (
	// defaultReclaimInterval is the least time between two looks at the log.
	defaultReclaimInterval = time.Second
	// reclaimBatch bounds, in octets, what is copied at once, and so the memory that it takes.
	reclaimBatch = 4 << 20
)

// reclaimer gives the space of deleted mail back, in the background: it copies what is still needed of a segment to the
// end of the log and drops the segment. The order of calls:
//
//	the copies, fdatasync; the index with the copies, synced; deletions that came meanwhile, again, fdatasync;
//	deletions that an older segment needs, fdatasync; the index up to here, synced; the list of dropped segments,
//	fdatasync, rename, fsync of the folder; unlink, fsync of the folder
type reclaimer struct {
	s    *Store
	wake chan struct{}
	ctx  context.Context
	end  context.CancelFunc
	done chan struct{}
}

func newReclaimer(s *Store) *reclaimer {
	r := &reclaimer{s: s, wake: make(chan struct{}, 1), done: make(chan struct{})}
	r.ctx, r.end = context.WithCancel(context.Background())
	r.signal()
	return r
}

// signal says that mail was deleted, or a segment sealed.
func (r *reclaimer) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reclaimer) stop() {
	r.end()
	<-r.done
}

func (r *reclaimer) run() {
	defer close(r.done)
	ballast := time.NewTicker(r.s.opt.ballastInterval)
	defer ballast.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-ballast.C:
			r.s.space.restore()
			continue
		case <-r.wake:
		}
		if err := r.work(); err != nil && r.ctx.Err() == nil {
			r.s.opt.Log.Warn().AnErr("reason", err).Msg("space of deleted mail could not be reclaimed: trying again with the next deletion")
		}
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(r.s.opt.reclaimInterval):
		}
	}
}

// work reclaims segments until none is worth it.
func (r *reclaimer) work() error {
	for {
		victim, err := r.choose()
		if err != nil || victim == nil {
			return err
		}
		if err := victim.reclaim(r.ctx); err != nil {
			return err
		}
	}
}

// victim is the segment to be reclaimed.
type victim struct {
	s      *Store
	number uint64
	older  []usage // of the segments in front of it

	batch  []*seglog.Record
	copied []copied
	size   int64                         // of batch
	tombs  map[store.MaildropID][]uint64 // deletions to be carried forward
}

// copied is one message of a batch, with those who had it when it was copied.
type copied struct {
	id    store.ID
	seq   uint64
	drops []store.MaildropID
}

// choose returns the oldest segment when nobody has mail in it, else the one with the smallest live share when the sealed
// segments together are less than half alive, else nil.
func (r *reclaimer) choose() (*victim, error) {
	sealed, err := r.s.log.Sealed()
	if err != nil || len(sealed) == 0 {
		return nil, err
	}
	// What is pending may be mail in one of them.
	if err := r.s.indexer.settle(0); err != nil {
		return nil, err
	}
	all, err := r.s.index.usage()
	if err != nil {
		return nil, err
	}
	var live, total int64
	worst, share := 0, 2.0
	for i, seg := range sealed {
		u := all[seg.Number]
		needed := u.live
		if i > 0 { // nothing is older than the oldest, so it carries no deletion forward
			needed += u.deletions
		}
		live, total = live+needed, total+seg.Size
		if q := float64(needed) / float64(seg.Size); q < share {
			worst, share = i, q
		}
	}
	switch {
	case all[sealed[0].Number].live == 0:
		worst = 0
	case live*2 >= total:
		return nil, nil
	}
	v := &victim{s: r.s, number: sealed[worst].Number, tombs: map[store.MaildropID][]uint64{}}
	for _, seg := range sealed[:worst] {
		v.older = append(v.older, all[seg.Number])
	}
	return v, nil
}

// reclaim copies what is needed of the segment and drops it.
func (v *victim) reclaim(ctx context.Context) error {
	err := v.s.log.Walk(v.number, 0, func(h *seglog.Header, pos seglog.Pos, head []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if brings(h.Kind) {
			return v.message(h, pos, head)
		}
		c, err := changeOf(h, pos, head)
		if err == nil {
			v.carry(c)
		}
		return err
	})
	if err == nil {
		err = v.flush()
	}
	if err == nil {
		err = v.bury(v.tombs)
	}
	if err == nil {
		err = v.s.indexer.settle(0)
	}
	if err == nil {
		err = v.s.log.Drop(v.number)
	}
	if err == nil {
		err = v.s.index.forget()
	}
	return err
}

// carry keeps those deletions of a record whose message may have a copy in an older segment.
func (v *victim) carry(c *change) {
	for _, seq := range c.deleted {
		if slices.ContainsFunc(v.older, func(u usage) bool { return u.held(seq) }) {
			v.tombs[c.drop] = append(v.tombs[c.drop], seq)
		}
	}
}

// message takes a record into the batch when somebody still has its message and this is where it stands.
func (v *victim) message(h *seglog.Header, pos seglog.Pos, head []byte) error {
	refs, alive, err := v.s.index.refs(h.ID)
	if err != nil {
		return err
	}
	if !alive || refs.pos != pos {
		return nil // deleted, or moved by a reclaim that did not come to its end
	}
	m, err := messageOf(h.Kind, h.Flags, head)
	if err != nil {
		return err
	}
	body, err := v.body(pos, h)
	if err != nil {
		return err
	}
	v.add(h, refs, m.encode(h.Flags, refs.drops), body)
	if v.size >= reclaimBatch {
		return v.flush()
	}
	return nil
}

// body reads a whole body and checks it. A damaged one is not copied, and so its segment stays, for verify to find.
func (v *victim) body(pos seglog.Pos, h *seglog.Header) ([]byte, error) {
	rec, err := v.s.log.Read(pos, h.Size())
	if err != nil {
		return nil, err
	}
	defer rec.Close() //nolint:errcheck // it never fails
	if err := rec.Check(); err != nil {
		return nil, err
	}
	body := make([]byte, rec.BodyLen)
	if _, err := rec.ReadAt(body, 0); err != nil && !(errors.Is(err, io.EOF) && len(body) == 0) {
		return nil, err
	}
	return body, nil
}

func (v *victim) add(h *seglog.Header, r refs, head, body []byte) {
	c := &change{kind: kindMove, flags: h.Flags, id: h.ID, seq: r.seq, from: v.number}
	full := appendMoved(r.seq, v.number, head)
	rec := &seglog.Record{Kind: kindMove, Flags: h.Flags, ID: h.ID, Head: full, Body: [][]byte{body}, Tag: c}
	if m, err := parseMessageHead(head, h.Flags); err == nil {
		c.octets = int64(len(m.trace)) + int64(len(body)) + m.body.size
		for _, to := range m.recipients {
			c.recipients = append(c.recipients, entryRef{to.drop, int64(len(to.prefix))})
		}
	}
	v.batch = append(v.batch, rec)
	v.copied = append(v.copied, copied{h.ID, r.seq, r.drops})
	v.size += int64(len(full)+len(body)) + 80
}

// flush makes the batch durable. A message that was deleted between the look into the index and the copy is deleted
// again, behind the copy: else a rebuild that finds the original gone would take the copy for the message.
func (v *victim) flush() error {
	if len(v.batch) == 0 {
		return nil
	}
	if err := v.s.log.AppendAll(v.batch); err != nil {
		return err
	}
	if err := v.s.indexer.settle(0); err != nil {
		return err
	}
	again := map[store.MaildropID][]uint64{}
	for _, c := range v.copied {
		now, _, err := v.s.index.refs(c.id)
		if err != nil {
			return err
		}
		for _, drop := range c.drops {
			if !slices.Contains(now.drops, drop) {
				again[drop] = append(again[drop], c.seq)
			}
		}
	}
	v.batch, v.copied, v.size = nil, nil, 0
	return v.bury(again)
}

// bury writes deletions once more.
func (v *victim) bury(deleted map[store.MaildropID][]uint64) error {
	var records []*seglog.Record
	for drop, seqs := range deleted {
		slices.Sort(seqs)
		seqs = slices.Compact(seqs)
		id := v.s.ids.next()
		records = append(records, &seglog.Record{
			Kind: kindTombstone, ID: id, Head: deletionHead(drop, 0, seqs),
			Tag: &change{kind: kindTombstone, id: id, drop: drop, deleted: seqs},
		})
	}
	if err := v.s.log.AppendAll(records); err != nil {
		return fmt.Errorf("carrying deletions forward: %w", err)
	}
	return nil
}
