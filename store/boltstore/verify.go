package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// Verify implements store.Admin.
func (s *Store) Verify(ctx context.Context) (store.Verification, error) {
	v := &verifier{s: s, ctx: ctx, seen: map[uint64]*seenSegment{}}
	if err := s.indexer.settle(0); err != nil {
		return v.result, err
	}
	for _, step := range []func() error{v.log, v.count, v.index, v.left} {
		if err := step(); err != nil {
			return v.result, err
		}
	}
	if v.result.Damage == 0 {
		s.lastVerify.Store(s.opt.Now().UnixNano())
	}
	return v.result, nil
}

// verifyWorkers is how many read at the same time: checking what one segment holds takes longer than reading the next.
const verifyWorkers = 2

// verifier holds 12 octets for each message, and of each of its workers what a walk through the log holds.
type verifier struct {
	s   *Store
	ctx context.Context

	mu     sync.Mutex // guards what follows, while several work
	result store.Verification
	seen   map[uint64]*seenSegment
	last   store.ID // the largest when it began: what comes later is not looked at, or mail could come faster
}

func (v *verifier) found(id store.ID, format string, args ...any) {
	f := store.Finding{Text: fmt.Sprintf(format, args...)}
	if !id.IsZero() {
		f.Message = id.String()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.result.Add(f)
}

// verifyBatch bounds the entries that one transaction reads.
const verifyBatch = 1000

// index holds the references of each message that the index has against what the log said, and its entries, which count has
// met. Where they do not fit, as after a deletion for some of the recipients, the message is looked at by itself.
func (v *verifier) index() error {
	calm := gentle{s: v.s}
	for from := []byte{}; from != nil; {
		ids, next, err := v.unseen(from)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := v.indexed(id); err != nil {
				return err
			}
		}
		if err := calm.rest(v.ctx); err != nil {
			return err
		}
		from = next
	}
	return nil
}

// unseen returns, of some ids from one on, those that do not fit what was seen, and where to go on.
func (v *verifier) unseen(from []byte) (ids []store.ID, next []byte, err error) {
	err = v.s.index.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketIDs).Cursor()
		n := 0
		var r refs
		for k, value := c.Seek(from); k != nil; k, value = c.Next() {
			if bytes.Compare(k, v.last[:]) > 0 {
				return nil
			}
			if n++; n > verifyBatch {
				next = bytes.Clone(k)
				return nil
			}
			if !r.decode(store.ID(k), value) || !v.fits(&r, sealOf(value)) {
				ids = append(ids, store.ID(k))
				continue
			}
			v.result.Messages++
			v.result.Entries += int64(len(r.drops))
		}
		return nil
	})
	return ids, next, errors.Join(err, v.ctx.Err())
}

// fits tells whether a message's references are those that its record says, and its entries were all met.
func (v *verifier) fits(r *refs, seal uint32) bool {
	seg, i, ok := v.find(r.pos)
	if !ok || seg.refs[i] != seal || seg.entries[i] != 0 {
		return false
	}
	seg.entries[i] = metBoth
	return true
}

// left looks at the messages all of whose entries were met, and whose references were not: they were deleted meanwhile, or
// the entries have no message.
func (v *verifier) left() error {
	calm := gentle{s: v.s}
	for number, seg := range v.seen {
		for i, sum := range seg.entries {
			if sum != 0 {
				continue
			}
			if err := errors.Join(calm.rest(v.ctx), v.ctx.Err(), v.orphaned(seglog.Pos{Segment: number, Offset: int64(seg.offsets[i])})); err != nil {
				return err
			}
		}
	}
	return nil
}

// orphaned finds the entries of the record at pos whose message is not in the index.
func (v *verifier) orphaned(pos seglog.Pos) error {
	rec, err := v.s.log.Read(pos, 1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // reclaimed meanwhile
	}
	if err != nil {
		return err
	}
	defer rec.Close() //nolint:errcheck // it never fails
	c, err := changeOf(&rec.Header, pos, rec.Head)
	if err != nil {
		return err
	}
	return v.s.index.view(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketIDs).Get(c.id[:]) != nil {
			return nil
		}
		for _, to := range c.recipients {
			if e, _, ok := findEntry(entryKey(to.drop, c.seq), tx.Bucket(bucketEntries), tx.Bucket(bucketBin)); ok && e.id == c.id {
				v.stranger(to.drop, c.id)
			}
		}
		return nil
	})
}

func (v *verifier) stranger(drop store.MaildropID, id store.ID) {
	v.found(id, "maildrop %d has an entry of message %s, which does not know of it", drop, id)
}

// indexed checks one message of the index. One that is moved or deleted in this moment is looked at again.
func (v *verifier) indexed(id store.ID) error {
	var problem error
	for range 3 {
		r, alive, err := v.s.index.refs(id)
		if err != nil || !alive {
			return err
		}
		if problem = v.holds(id, r); problem == nil {
			v.result.Messages++
			v.result.Entries += int64(len(r.drops))
			return nil
		}
	}
	v.found(id, "the index is wrong about message %s: %v", id, problem)
	return nil
}

func (v *verifier) holds(id store.ID, r refs) error {
	rec, err := v.s.log.Read(r.pos, 1)
	if err != nil {
		return err
	}
	defer rec.Close() //nolint:errcheck // it never fails
	if rec.ID != id || !brings(rec.Kind) || rec.Size() != r.size {
		return errors.New("its place holds something else")
	}
	m, err := messageOf(rec.Kind, rec.Flags, rec.Head)
	if err != nil {
		return err
	}
	return v.s.index.view(func(tx *bbolt.Tx) error { return entriesFit(tx, &rec.Header, &m, id, &r) })
}

// entriesFit holds the entries of a message against its record.
func entriesFit(tx *bbolt.Tx, h *seglog.Header, m *messageView, id store.ID, r *refs) error {
	octets := int64(len(m.trace)) + int64(h.BodyLen) + m.body.size
	entries := tx.Bucket(bucketEntries)
	for _, drop := range r.drops {
		at := slices.IndexFunc(m.recipients, func(to recipientView) bool { return to.drop == drop })
		if at < 0 {
			return fmt.Errorf("maildrop %d is no recipient", drop)
		}
		key := entryKey(drop, r.seq)
		e, _, ok := findEntry(key, entries)
		if !ok {
			e, _, ok = findEntry(key, tx.Bucket(bucketBin))
		}
		if !ok {
			return fmt.Errorf("maildrop %d has no entry of it", drop)
		}
		if e.id != id || e.pos != r.pos || e.octets != octets+int64(len(m.recipients[at].prefix)) {
			return fmt.Errorf("the entry of maildrop %d does not fit", drop)
		}
	}
	return nil
}

// count holds the counters against what the maildrops count, at one moment, and then each maildrop against what it holds.
func (v *verifier) count() error {
	v.s.index.warm(warmAll)
	drops, err := v.s.index.counts()
	if err != nil {
		return err
	}
	listed, want, err := v.s.balance()
	if err == nil && listed != want {
		v.found(store.ID{}, "%d messages with %d octets are listed, but the counters say %d with %d", listed.messages, listed.octets, want.messages, want.octets)
	}
	if err != nil {
		return err
	}
	calm := make(chan gentle, verifyWorkers)
	for range verifyWorkers {
		calm <- gentle{s: v.s, others: verifyWorkers - 1}
	}
	return inParallel(v.ctx, slices.Sorted(maps.Keys(drops)), func(ctx context.Context, drop store.MaildropID) error {
		err := v.s.index.view(func(tx *bbolt.Tx) error { return v.maildrop(tx, drop) })
		g := <-calm
		err = errors.Join(err, g.rest(ctx), ctx.Err())
		calm <- g
		return err
	})
}

// balance returns what all maildrops count together, and what the counters say. Where the two differ it looks once more when
// what is pending is applied: a large deletion takes several transactions, and the counters move with the last.
func (s *Store) balance() (listed, want counts, err error) {
	for range 2 {
		var t totals
		listed, t, err = s.index.balance()
		want = counts{messages: t.present(), octets: t.octets}
		if err != nil || listed == want {
			break
		}
		if err = s.indexer.settle(0); err != nil {
			break
		}
	}
	return listed, want, err
}

// balance returns, of one moment, what all maildrops count together and what the counters say.
func (ix *index) balance() (listed counts, t totals, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		var st state
		if !st.decode(tx.Bucket(bucketMeta).Get(keyState)) {
			return errIndex
		}
		t = st.totals
		return tx.Bucket(bucketDrops).ForEach(func(_, value []byte) error {
			n := decodeCounts(value)
			listed.messages += n.messages
			listed.octets += n.octets
			return nil
		})
	})
	return listed, t, err
}

// maildrop counts what one maildrop and its bin hold, and looks for each entry's message.
func (v *verifier) maildrop(tx *bbolt.Tx, drop store.MaildropID) error {
	prefix := entryKey(drop, 0)[:8]
	ids := tx.Bucket(bucketIDs)
	counted := v.entries(ids, tx.Bucket(bucketEntries), drop).plus(v.entries(ids, tx.Bucket(bucketBin), drop))
	if listed := decodeCounts(tx.Bucket(bucketDrops).Get(prefix)); counted != listed {
		v.found(store.ID{}, "maildrop %d counts %d messages with %d octets, and %d with %d in its bin, but holds %d with %d, and %d with %d", drop,
			listed.messages, listed.octets, listed.binned, listed.binnedOctets, counted.messages, counted.octets, counted.binned, counted.binnedOctets)
	}
	return nil
}

func (v *verifier) entries(ids, in *bbolt.Bucket, drop store.MaildropID) (counted counts) {
	prefix := entryKey(drop, 0)[:8]
	c := in.Cursor()
	var room []byte
	for k, value := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, value = c.Next() {
		var e entry
		if !e.decode(k, value) {
			v.found(store.ID{}, "an entry of maildrop %d can't be read", drop)
			continue
		}
		counted = counted.plus(e.count())
		if bytes.Compare(e.id[:], v.last[:]) > 0 {
			continue // it came later
		}
		seal := sealOf(value)
		if e.binned != 0 {
			e.binned = 0
			room = e.appendTo(room[:0], k)
			seal = sealOf(room)
		}
		v.met(ids, drop, &e, seal)
	}
	return counted
}

// met takes an entry off those of its message that are to be met. Where it is not the last of them, the message is looked up: it has to
// know of the maildrop.
func (v *verifier) met(ids *bbolt.Bucket, drop store.MaildropID, e *entry, seal uint32) {
	seg, i, ok := v.find(e.pos)
	if ok && seal != 0 && atomic.CompareAndSwapUint32(&seg.entries[i], seal, 0) {
		return
	}
	var r refs
	if !r.decode(e.id, ids.Get(e.id[:])) || r.seq != e.seq || !slices.Contains(r.drops, drop) {
		v.stranger(drop, e.id)
		return
	}
	if ok {
		atomic.AddUint32(&seg.entries[i], -seal)
	}
}
