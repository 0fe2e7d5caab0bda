package boltstore

import (
	"encoding/binary"
	"slices"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// apply writes changes and the state behind them in one synced transaction. Applying a change again does nothing: counters
// move only when a key does.
func (ix *index) apply(changes []*change, after state) error {
	return ix.db.Update(func(tx *bbolt.Tx) error {
		if err := applyTo(tx, changes); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keyState, after.encode())
	})
}

// applyPart is apply for a batch that others follow: the position stays in front of it, so a crash applies it again.
func (ix *index) applyPart(changes []*change) error {
	return ix.db.Update(func(tx *bbolt.Tx) error { return applyTo(tx, changes) })
}

func applyTo(tx *bbolt.Tx, changes []*change) error {
	a := applier{
		entries: tx.Bucket(bucketEntries), ids: tx.Bucket(bucketIDs), drops: tx.Bucket(bucketDrops),
		moved: map[store.MaildropID]counts{},
	}
	a.ids.FillPercent = 0.9
	for _, c := range changes {
		if err := a.one(c); err != nil {
			return err
		}
	}
	if err := a.putAll(); err != nil {
		return err
	}
	return a.count()
}

// applier collects what one transaction writes, so that it can write each bucket in the order of its keys: then every page
// is found once.
type applier struct {
	entries, ids, drops *bbolt.Bucket

	puts  []keyValue // new entries
	moved map[store.MaildropID]counts
}

type keyValue struct{ key, value []byte }

func (a *applier) one(c *change) error {
	if c.kind == kindMessage {
		return a.message(c)
	}
	return a.deletion(c)
}

func (a *applier) message(c *change) error {
	if a.ids.Get(c.id[:]) != nil {
		return nil
	}
	for _, r := range c.recipients {
		e := entry{id: c.id, pos: c.pos, octets: c.octets + r.prefix}
		a.puts = append(a.puts, keyValue{entryKey(r.drop, c.seq), e.encode()})
		a.move(r.drop, 1, e.octets)
	}
	return a.ids.Put(c.id[:], encodeRefs(c))
}

// encodeRefs writes the value of bucketIDs: sequence number (8), size of the record (8), and the maildrops that still have
// the message (8 each).
func encodeRefs(c *change) []byte {
	b := make([]byte, 0, 16+8*len(c.recipients))
	b = binary.BigEndian.AppendUint64(b, c.seq)
	b = binary.BigEndian.AppendUint64(b, uint64(c.size))
	for _, r := range c.recipients {
		b = binary.BigEndian.AppendUint64(b, uint64(r.drop))
	}
	return b
}

func (a *applier) move(drop store.MaildropID, messages, octets int64) {
	n := a.moved[drop]
	a.moved[drop] = counts{n.messages + messages, n.octets + octets}
}

func (a *applier) deletion(c *change) error {
	if err := a.putAll(); err != nil { // the deleted may be among them
		return err
	}
	for _, seq := range c.deleted {
		key := entryKey(c.drop, seq)
		var e entry
		if v := a.entries.Get(key); v == nil || !e.decode(key, v) {
			continue
		}
		if err := a.entries.Delete(key); err != nil {
			return err
		}
		if err := a.unref(e.id, c.drop); err != nil {
			return err
		}
		a.move(c.drop, -1, -e.octets)
	}
	return nil
}

// unref takes drop off the list of those that have the message.
func (a *applier) unref(id store.ID, drop store.MaildropID) error {
	old := a.ids.Get(id[:])
	if len(old) < 16 {
		return nil
	}
	left := append(make([]byte, 0, len(old)), old[:16]...)
	for b := old[16:]; len(b) >= 8; b = b[8:] {
		if store.MaildropID(binary.BigEndian.Uint64(b)) != drop {
			left = append(left, b[:8]...)
		}
	}
	if len(left) == 16 {
		return a.ids.Delete(id[:])
	}
	return a.ids.Put(id[:], left)
}

func (a *applier) putAll() error {
	slices.SortFunc(a.puts, func(x, y keyValue) int { return slices.Compare(x.key, y.key) })
	for _, p := range a.puts {
		if err := a.entries.Put(p.key, p.value); err != nil {
			return err
		}
	}
	a.puts = a.puts[:0]
	return nil
}

func (a *applier) count() error {
	for drop, d := range a.moved {
		key := entryKey(drop, 0)[:8]
		n := decodeCounts(a.drops.Get(key))
		n = counts{n.messages + d.messages, n.octets + d.octets}
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
