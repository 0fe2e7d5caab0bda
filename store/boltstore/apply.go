package boltstore

import (
	"bytes"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// apply writes changes, and the state behind them, in one synced transaction. Applying a change again does nothing: counters
// move only when a key does. So a nil state may stand for changes that others follow: the position stays in front of them,
// and a crash applies them again.
//
// It returns the messages whose bodies are files that no entry names any more.
func (ix *index) apply(changes []*change, after *state) (orphans []store.ID, err error) {
	if ix.before != nil {
		if err := ix.before(); err != nil {
			return nil, err
		}
	}
	err = ix.update(func(tx *bbolt.Tx) error {
		var err error
		if orphans, err = ix.applyTo(tx, changes); err != nil || after == nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keyState, after.encode())
	})
	if err == nil && ix.after != nil {
		ix.after(ix)
	}
	return orphans, err
}

// deletionWeight is what a deleted message weighs in a batch where a delivered one weighs 1: it costs more and dirties more.
const deletionWeight = 4

// parts cuts changes into pieces of about so much weight, that one transaction each takes; a large deletion is cut too.
func parts(changes []*change, bound int) [][]*change {
	var all [][]*change
	var part []*change
	weight := 0
	add := func(c *change) {
		part = append(part, c)
		if weight += 1 + deletionWeight*len(c.deleted); weight >= bound {
			all, part, weight = append(all, part), nil, 0
		}
	}
	for _, c := range changes {
		for most := bound / deletionWeight; len(c.deleted) > most; {
			piece, rest := *c, *c
			piece.deleted, rest.deleted = c.deleted[:most], c.deleted[most:]
			add(&piece)
			c = &rest
		}
		add(c)
	}
	return append(all, part)
}

func (ix *index) applyTo(tx *bbolt.Tx, changes []*change) ([]store.ID, error) {
	a := applier{
		entries: tx.Bucket(bucketEntries), bin: tx.Bucket(bucketBin), ids: tx.Bucket(bucketIDs), drops: tx.Bucket(bucketDrops),
		segments: tx.Bucket(bucketSegments), has: ix.has, gentle: ix.gentle,
		moved: map[store.MaildropID]counts{}, usage: map[uint64]*usage{},
		puts: make([]newValue, 0, len(changes)), news: make([]newValue, 0, len(changes)),
	}
	a.ids.FillPercent = 0.9
	if k, _ := a.ids.Cursor().Last(); len(k) == len(a.top) {
		a.top = store.ID(k)
	}
	for _, c := range changes {
		if err := a.one(c); err != nil {
			return nil, err
		}
	}
	if err := a.putAll(); err != nil {
		return nil, err
	}
	return a.orphans, a.count()
}

// A large deletion is applied with pauses. It is the one change that keeps a processor busy for long, and the log's
// fdatasync, back from the disk, would wait for that processor for a whole slice of the kernel's; and while a transaction
// is synced, the log's own sync waits. Beside a QUIT of 100,000, on two processors, 99 of 100 deliveries took 4 times what
// they took before without the rests, and 2.2 to 4 times with them; over the whole second twice.
const (
	breathEvery = 128
	breath      = 100 * time.Microsecond
	rest        = 8 * time.Millisecond // between two transactions
)

// applier collects what one transaction writes, so that it can write each bucket in the order of its keys: then every page
// is found once.
type applier struct {
	entries, bin, ids, drops, segments *bbolt.Bucket
	has                                func(segment uint64) bool
	gentle                             bool

	puts    []newValue // entries
	news    []newValue // references of messages
	top     store.ID   // the largest id in the bucket: what is over it need not be looked for
	refs    refs       // of one change, kept for the next one
	key     [16]byte   // of what is written next, which bbolt copies
	room    []byte     // for values, which bbolt refers to until the transaction ends
	moved   map[store.MaildropID]counts
	usage   map[uint64]*usage
	orphans []store.ID // messages with an external body that nobody has any more
}

func (a *applier) one(c *change) error {
	u, err := a.use(c.pos.Segment)
	if err != nil {
		return err
	}
	switch c.kind {
	case kindMessage, kindImport:
		return a.message(c, u)
	case kindRestore:
		return a.restore(c, u)
	case kindMove:
		return a.relocate(c, u)
	case kindLoss, kindCanary:
		return nil
	}
	u.control(c)
	return a.deletion(c)
}

// restore takes an entry out of the bin, and the message in as a new one.
func (a *applier) restore(c *change, u *usage) error {
	if c.replaces != 0 {
		if err := a.putAll(); err != nil { // the old one may be among them
			return err
		}
		if err := a.remover().gone(c.recipients[0].drop, c.replaces); err != nil {
			return err
		}
	}
	return a.message(c, u)
}

func (a *applier) message(c *change, u *usage) error {
	if bytes.Compare(c.id[:], a.top[:]) <= 0 {
		if known := a.ids.Get(c.id[:]); known != nil {
			var r refs
			if !r.decode(c.id, known) || r.seq != c.seq {
				return twice(c.id[:])
			}
			return nil
		}
	}
	for _, to := range c.recipients {
		e := entryOf(c, to)
		key := appendEntryKey(a.key[:0], to.drop, c.seq)
		value := a.took(e.appendTo(a.space(maxEntry+len(e.foreign)), key))
		if e.binned != 0 {
			if err := a.bin.Put(key, value); err != nil {
				return err
			}
		} else {
			a.puts = append(a.puts, newValueOf(key, value))
		}
		a.move(to.drop, e.count())
	}
	u.message(c)
	a.refs.of(c)
	value := a.refs.appendTo(a.space(refsHead+8*len(a.refs.drops)), c.id)
	a.news = append(a.news, newValueOf(c.id[:], a.took(value)))
	return nil
}

// relocate takes a copy that reclaim made. It counts while its id lives; where the id is not known, the copy stands for
// the original only if that was dropped, else the message was deleted.
func (a *applier) relocate(c *change, u *usage) error {
	if err := a.putAll(); err != nil { // the original may be among them
		return err
	}
	var r refs
	if known := a.ids.Get(c.id[:]); known == nil {
		if a.has(c.from) {
			return nil
		}
		return a.message(c, u)
	} else if !r.decode(c.id, known) {
		return fmt.Errorf("%w: the references of %s can't be read", errIndex, c.id)
	}
	if r.pos == c.pos {
		return nil
	}
	old, err := a.use(r.pos.Segment)
	if err != nil {
		return err
	}
	old.live -= r.size
	u.message(c)
	r.pos, r.size = c.pos, c.size
	for _, drop := range r.drops {
		key := entryKey(drop, r.seq)
		e, bucket, ok := a.find(key)
		if !ok {
			return fmt.Errorf("%w: an entry of %s is not there", errIndex, c.id)
		}
		e.pos = c.pos
		if err := bucket.Put(key, e.encode(key)); err != nil {
			return err
		}
	}
	return a.ids.Put(c.id[:], r.encode(c.id))
}

// entryOf is the entry of one recipient of a new message.
func entryOf(c *change, to entryRef) entry {
	return entry{seq: c.seq, id: c.id, pos: c.pos, octets: c.octets + to.prefix, foreign: c.foreign, sum: c.sum, binned: to.binned}
}

// count is what an entry adds to its maildrop's counts.
func (e *entry) count() counts {
	if e.binned != 0 {
		return counts{binned: 1, binnedOctets: e.octets}
	}
	return counts{messages: 1, octets: e.octets}
}

// without is what its removal adds.
func (e *entry) without() counts {
	n := e.count()
	return counts{-n.messages, -n.octets, -n.binned, -n.binnedOctets}
}

func (a *applier) move(drop store.MaildropID, by counts) { a.moved[drop] = a.moved[drop].plus(by) }

// find looks for an entry among the mail that waits and in the bin.
func (a *applier) find(key []byte) (e entry, in *bbolt.Bucket, ok bool) {
	return findEntry(key, a.entries, a.bin)
}

// findEntry returns an entry and the first of the buckets that has it.
func findEntry(key []byte, buckets ...*bbolt.Bucket) (e entry, in *bbolt.Bucket, ok bool) {
	for _, b := range buckets {
		if v := b.Get(key); v != nil && e.decode(key, v) {
			return e, b, true
		}
	}
	return e, nil, false
}

func (a *applier) count() error {
	for number, u := range a.usage {
		if err := a.segments.Put(segmentKey(number), u.encode()); err != nil {
			return err
		}
	}
	for drop, d := range a.moved {
		key := entryKey(drop, 0)[:8]
		n := decodeCounts(a.drops.Get(key)).plus(d)
		if n == (counts{}) {
			if err := a.drops.Delete(key); err != nil {
				return err
			}
			continue
		}
		if err := a.drops.Put(key, n.encode()); err != nil {
			return err
		}
	}
	return nil
}
