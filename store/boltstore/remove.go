package boltstore

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// remover takes entries out of the index. Its cursors delete where they stand: one search for each entry instead of two.
type remover struct {
	*applier
	waiting, binned, ids *bbolt.Cursor
}

func (a *applier) remover() *remover {
	return &remover{a, a.entries.Cursor(), a.bin.Cursor(), a.ids.Cursor()}
}

func (a *applier) deletion(c *change) error {
	if err := a.putAll(); err != nil { // the deleted may be among them
		return err
	}
	r := a.remover()
	for i, seq := range c.deleted {
		if a.gentle && i%breathEvery == breathEvery-1 {
			time.Sleep(breath)
		}
		var err error
		if c.kind == kindBin || c.kind == kindBinAgain {
			err = r.intoBin(c.drop, seq, c.binned)
		} else {
			err = r.gone(c.drop, seq)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// take removes an entry from among those that a cursor is for; false where it is not one of them.
func (r *remover) take(from *bbolt.Cursor, key []byte) (e entry, ok bool, err error) {
	if k, v := from.Seek(key); !bytes.Equal(k, key) || !e.decode(key, v) {
		return e, false, nil
	}
	return e, true, from.Delete()
}

// gone removes an entry, from the mail that waits or from the bin.
func (r *remover) gone(drop store.MaildropID, seq uint64) error {
	key := entryKey(drop, seq)
	e, ok, err := r.take(r.waiting, key)
	if !ok {
		e, ok, err = r.take(r.binned, key)
	}
	if !ok || err != nil {
		return err
	}
	r.move(drop, e.without())
	return r.unref(e.id, drop)
}

// intoBin moves an entry of mail that waits into the bin.
func (r *remover) intoBin(drop store.MaildropID, seq uint64, moment int64) error {
	key := entryKey(drop, seq)
	e, ok, err := r.take(r.waiting, key)
	if !ok || err != nil {
		return err
	}
	r.move(drop, e.without())
	e.binned = moment
	r.move(drop, e.count())
	return r.bin.Put(key, e.encode(key))
}

// unref takes drop off the list of those that have the message.
func (r *remover) unref(id store.ID, drop store.MaildropID) error {
	var has refs
	if k, v := r.ids.Seek(id[:]); !bytes.Equal(k, id[:]) || !has.decode(id, v) {
		return fmt.Errorf("%w: the references of %s can't be read", errIndex, id)
	}
	has.drops = slices.DeleteFunc(has.drops, func(d store.MaildropID) bool { return d == drop })
	if len(has.drops) > 0 {
		return r.applier.ids.Put(id[:], has.encode(id))
	}
	u, err := r.use(has.pos.Segment)
	if err != nil {
		return err
	}
	u.live -= has.size
	if has.flags&flagExternal != 0 {
		r.orphans = append(r.orphans, id)
	}
	return r.ids.Delete()
}
