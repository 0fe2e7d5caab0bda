package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync/atomic"
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
//	for each batch, while no deletion is written: the index, synced; the copies of what it says is wanted, fdatasync;
//	deletions that an older segment needs, fdatasync; the index up to here, synced; the list of dropped segments,
//	fdatasync, rename, fsync of the folder; unlink, fsync of the folder
type reclaimer struct {
	segments, octets atomic.Uint64 // that were given back since start
	live             atomic.Uint64 // the live share of the sealed segments, as math.Float64bits

	damaged map[uint64]bool // segments that can't be read: left for verify to find

	s    *Store
	wake chan struct{}
	ctx  context.Context
	end  context.CancelFunc
	done chan struct{}
}

func newReclaimer(s *Store) *reclaimer {
	r := &reclaimer{s: s, wake: make(chan struct{}, 1), done: make(chan struct{})}
	r.live.Store(math.Float64bits(1))
	r.ctx, r.end = context.WithCancel(context.Background())
	r.signal()
	return r
}

// liveShare is what is needed of the sealed segments, 1 where there are none.
func (r *reclaimer) liveShare() float64 { return math.Float64frombits(r.live.Load()) }

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
		err = victim.reclaim(r.ctx)
		if err == nil {
			r.segments.Add(1)
			r.octets.Add(uint64(victim.bytes))
		}
		if corrupt := (*seglog.Corrupt)(nil); errors.As(err, &corrupt) {
			r.s.opt.Log.Error().AnErr("reason", err).Msg("a segment of the log is damaged and stays as it is: see letterbox verify")
			if r.damaged == nil {
				r.damaged = map[uint64]bool{}
			}
			r.damaged[victim.number] = true
		} else if err != nil {
			return err
		}
	}
}

// victim is the segment to be reclaimed.
type victim struct {
	s      *Store
	number uint64
	bytes  int64
	older  []usage // of the segments in front of it

	batch []candidate
	size  int64             // of batch
	tombs map[tomb][]uint64 // deletions to be carried forward
}

// tomb is a maildrop, and the moment for what went into its bin, 0 for what is gone.
type tomb struct {
	drop   store.MaildropID
	binned int64
}

// candidate is a message that was wanted when its record was read.
type candidate struct {
	h    seglog.Header
	pos  seglog.Pos
	view messageView
	body []byte
}

// choose returns the oldest segment when nobody has mail in it, else the one with the smallest live share when the sealed
// segments together are less than half alive, else nil.
func (r *reclaimer) choose() (*victim, error) {
	sealed, err := r.s.log.Sealed()
	sealed = slices.DeleteFunc(sealed, func(i seglog.SegmentInfo) bool { return r.damaged[i.Number] })
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
	r.live.Store(math.Float64bits(float64(live) / float64(total)))
	switch {
	case all[sealed[0].Number].live == 0:
		worst = 0
	case live*2 >= total:
		return nil, nil
	}
	v := &victim{s: r.s, number: sealed[worst].Number, bytes: sealed[worst].Size, tombs: map[tomb][]uint64{}}
	for number, u := range all {
		if number < v.number && r.s.log.Has(number) {
			v.older = append(v.older, u)
		}
	}
	return v, nil
}

// reclaim copies what is needed of the segment and drops it.
func (v *victim) reclaim(ctx context.Context) error {
	err := v.s.log.Walk(v.number, 0, func(h *seglog.Header, pos seglog.Pos, head []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := changeOf(h, pos, head)
		if err != nil {
			return err
		}
		v.carry(c)
		if brings(h.Kind) {
			return v.message(h, pos, head)
		}
		return nil
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
		if err = v.s.index.forget(); err != nil {
			v.s.condemnIndex(err)
		}
	}
	return err
}

// carry keeps those deletions of a record whose message may have a copy in an older segment.
func (v *victim) carry(c *change) {
	to, seqs := tomb{c.drop, c.binned}, c.deleted
	if c.kind == kindRestore && c.replaces != 0 {
		to, seqs = tomb{drop: c.recipients[0].drop}, []uint64{c.replaces}
	}
	for _, seq := range seqs {
		if slices.ContainsFunc(v.older, func(u usage) bool { return u.held(seq) }) {
			v.tombs[to] = append(v.tombs[to], seq)
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
	m, err := messageOf(h.Kind, h.Flags, bytes.Clone(head))
	if err != nil {
		return err
	}
	body, err := v.body(pos, h)
	if err != nil {
		return err
	}
	v.batch = append(v.batch, candidate{h: *h, pos: pos, view: m, body: body})
	if v.size += h.Size(); v.size >= reclaimBatch {
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

// flush makes the batch durable: those of it that are wanted still. No deletion is written meanwhile.
func (v *victim) flush() error {
	if len(v.batch) == 0 {
		return nil
	}
	v.s.moving.Lock()
	defer v.s.moving.Unlock()
	if err := v.s.indexer.settle(0); err != nil {
		return err
	}
	var records []*seglog.Record
	for _, c := range v.batch {
		refs, alive, err := v.s.index.refs(c.h.ID)
		if err != nil {
			return err
		}
		if !alive || refs.pos != c.pos {
			continue
		}
		binned, err := v.s.index.binned(refs)
		if err != nil {
			return err
		}
		records = append(records, c.record(refs, binned, v.number))
	}
	v.batch, v.size = nil, 0
	return v.s.log.AppendAll(records)
}

// record makes the copy, for those who still have the message. binned says since when it lies in their bins.
func (k *candidate) record(r refs, binned map[store.MaildropID]int64, from uint64) *seglog.Record {
	flags := k.h.Flags &^ flagBinned
	if len(binned) > 0 {
		flags |= flagBinned
	}
	c := &change{kind: kindMove, flags: flags, id: k.h.ID, seq: r.seq, from: from, foreign: string(k.view.foreign), sum: k.view.body.sum}
	c.octets = int64(len(k.view.trace)) + int64(len(k.body)) + k.view.body.size
	view := k.view
	view.recipients = nil
	for _, to := range k.view.recipients {
		if slices.Contains(r.drops, to.drop) {
			to.binned = binned[to.drop]
			view.recipients = append(view.recipients, to)
			c.recipients = append(c.recipients, entryRef{to.drop, int64(len(to.prefix)), to.binned})
		}
	}
	head := appendMoved(r.seq, from, view.encode(flags))
	return &seglog.Record{Kind: kindMove, Flags: flags, ID: k.h.ID, Head: head, Body: [][]byte{k.body}, Tag: c}
}

// bury writes deletions once more: what went into a bin before what is gone, since it may have gone from there.
func (v *victim) bury(deleted map[tomb][]uint64) error {
	tombs := slices.SortedFunc(maps.Keys(deleted), func(a, b tomb) int { return cmp.Compare(b.binned, a.binned) })
	var records []*seglog.Record
	for _, to := range tombs {
		seqs := deleted[to]
		slices.Sort(seqs)
		seqs = slices.Compact(seqs)
		if to.binned != 0 {
			records = append(records, v.s.binning(kindBinAgain, to.drop, 0, seqs, to.binned))
		} else {
			records = append(records, v.s.deletion(kindTombstone, to.drop, 0, seqs))
		}
	}
	if err := v.s.log.AppendAll(records); err != nil {
		return fmt.Errorf("carrying deletions forward: %w", err)
	}
	return nil
}
