package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// Verify implements store.Admin.
func (s *Store) Verify(ctx context.Context) (store.Verification, error) {
	v := &verifier{s: s, ctx: ctx}
	v.found = func(id store.ID, format string, args ...any) {
		f := store.Finding{Text: fmt.Sprintf(format, args...)}
		if !id.IsZero() {
			f.Message = id.String()
		}
		v.result.Add(f)
	}
	if err := s.indexer.settle(0); err != nil {
		return v.result, err
	}
	for _, step := range []func() error{v.log, v.index, v.count} {
		if err := step(); err != nil {
			return v.result, err
		}
	}
	if v.result.Damage == 0 {
		s.lastVerify.Store(s.opt.Now().UnixNano())
	}
	return v.result, nil
}

type verifier struct {
	s      *Store
	ctx    context.Context
	found  func(id store.ID, format string, args ...any)
	result store.Verification
}

// log reads every record up to what the index holds.
func (v *verifier) log() error {
	sealed, err := v.s.log.Sealed()
	if err != nil {
		return err
	}
	st, _ := v.s.indexer.snapshot()
	for _, seg := range sealed {
		if seg.Number < st.mark.Segment {
			if err := v.segment(seg.Number, 0); err != nil {
				return err
			}
		}
	}
	return v.segment(st.mark.Segment, st.mark.Offset)
}

func (v *verifier) segment(number uint64, end int64) error {
	err := v.s.log.Walk(number, end, func(h *seglog.Header, pos seglog.Pos, head []byte) error {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		v.result.Records++
		if _, err := changeOf(h, pos, head); err != nil {
			v.found(h.ID, "%v", err)
			return nil
		}
		if !brings(h.Kind) {
			return nil
		}
		refs, alive, err := v.s.index.refs(h.ID)
		if err != nil || !alive || refs.pos != pos {
			return err // deleted or moved: what it held is not needed
		}
		return v.message(h, pos, head)
	})
	var corrupt *seglog.Corrupt
	switch {
	case errors.As(err, &corrupt):
		v.found(corrupt.ID, "%v", corrupt)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil // reclaimed meanwhile
	}
	return err
}

// message checks a message that somebody has.
func (v *verifier) message(h *seglog.Header, pos seglog.Pos, head []byte) error {
	v.result.Messages++
	m, err := messageOf(h.Kind, h.Flags, head)
	if err != nil {
		return err
	}
	rec, err := v.s.log.Read(pos, h.Size())
	if err != nil {
		return err
	}
	defer rec.Close() //nolint:errcheck // it never fails
	if h.Flags&flagExternal != 0 {
		var b bodyReader
		if b, err = v.s.bodies.open(rec, m.body, &v.s.memory.next); err == nil {
			err = b.Close()
		}
	} else {
		err = rec.Check()
	}
	v.result.Octets += int64(h.BodyLen) + m.body.size
	var corrupt *seglog.Corrupt
	if errors.As(err, &corrupt) {
		if _, alive, refsErr := v.s.index.refs(h.ID); refsErr != nil || !alive {
			return refsErr // deleted meanwhile
		}
		v.found(h.ID, "message %s is damaged: %s (%s)", store.ID(h.ID), corrupt.Reason, pos)
		return nil
	}
	return err
}

// verifyBatch bounds the entries that one transaction reads.
const verifyBatch = 1000

// index looks for the record of each message that the index holds.
func (v *verifier) index() error {
	for from := []byte{}; from != nil; {
		ids, next, err := v.ids(from)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := v.indexed(id); err != nil {
				return err
			}
		}
		from = next
	}
	return nil
}

func (v *verifier) ids(from []byte) (ids []store.ID, next []byte, err error) {
	err = v.s.index.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketIDs).Cursor()
		for k, _ := c.Seek(from); k != nil; k, _ = c.Next() {
			if len(ids) == verifyBatch {
				next = bytes.Clone(k)
				return nil
			}
			ids = append(ids, store.ID(k))
		}
		return nil
	})
	return ids, next, errors.Join(err, v.ctx.Err())
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
	octets := int64(len(m.trace)) + int64(rec.BodyLen) + m.body.size
	return v.s.index.db.View(func(tx *bbolt.Tx) error {
		for _, drop := range r.drops {
			at := slices.IndexFunc(m.recipients, func(to recipientView) bool { return to.drop == drop })
			if at < 0 {
				return fmt.Errorf("maildrop %d is no recipient", drop)
			}
			e, _, ok := findEntry(entryKey(drop, r.seq), tx.Bucket(bucketEntries), tx.Bucket(bucketBin))
			if !ok {
				return fmt.Errorf("maildrop %d has no entry of it", drop)
			}
			if e.id != id || e.pos != r.pos || e.octets != octets+int64(len(m.recipients[at].prefix)) {
				return fmt.Errorf("the entry of maildrop %d does not fit", drop)
			}
		}
		return nil
	})
}

// count holds the counters against what the maildrops count, at one moment, and then each maildrop against what it holds.
func (v *verifier) count() error {
	drops, err := v.s.index.counts()
	if err != nil {
		return err
	}
	listed, totals, err := v.s.index.balance()
	if want := (counts{messages: totals.present(), octets: totals.octets}); err == nil && listed != want {
		v.found(store.ID{}, "%d messages with %d octets are listed, but the counters say %d with %d", listed.messages, listed.octets, want.messages, want.octets)
	}
	for drop := range drops {
		if err != nil {
			break
		}
		err = errors.Join(v.s.index.db.View(func(tx *bbolt.Tx) error { return v.maildrop(tx, drop) }), v.ctx.Err())
	}
	return err
}

// balance returns, of one moment, what all maildrops count together and what the counters say.
func (ix *index) balance() (listed counts, t totals, err error) {
	err = ix.db.View(func(tx *bbolt.Tx) error {
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
	counted := v.entries(tx, tx.Bucket(bucketEntries), drop).plus(v.entries(tx, tx.Bucket(bucketBin), drop))
	if listed := decodeCounts(tx.Bucket(bucketDrops).Get(prefix)); counted != listed {
		v.found(store.ID{}, "maildrop %d counts %d messages with %d octets, and %d with %d in its bin, but holds %d with %d, and %d with %d", drop,
			listed.messages, listed.octets, listed.binned, listed.binnedOctets, counted.messages, counted.octets, counted.binned, counted.binnedOctets)
	}
	return nil
}

func (v *verifier) entries(tx *bbolt.Tx, in *bbolt.Bucket, drop store.MaildropID) (counted counts) {
	prefix := entryKey(drop, 0)[:8]
	c := in.Cursor()
	for k, value := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, value = c.Next() {
		var e entry
		if !e.decode(k, value) {
			v.found(store.ID{}, "an entry of maildrop %d can't be read", drop)
			continue
		}
		counted = counted.plus(e.count())
		var r refs
		if !r.decode(e.id, tx.Bucket(bucketIDs).Get(e.id[:])) || r.seq != e.seq || !slices.Contains(r.drops, drop) {
			v.found(e.id, "maildrop %d has an entry of message %s, which does not know of it", drop, e.id)
		}
	}
	return counted
}
