package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// binned returns since when a message lies in the bins of those who deleted it; empty where nobody did.
func (ix *index) binned(r refs) (since map[store.MaildropID]int64, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		for _, drop := range r.drops {
			if e, _, ok := findEntry(entryKey(drop, r.seq), tx.Bucket(bucketBin)); ok {
				if since == nil {
					since = map[store.MaildropID]int64{}
				}
				since[drop] = e.binned
			}
		}
		return nil
	})
	return since, err
}

// waits returns a maildrop's entry of a message that waits there.
func (ix *index) waits(drop store.MaildropID, id store.ID) (e entry, ok bool, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		var r refs
		if value := tx.Bucket(bucketIDs).Get(id[:]); value != nil && r.decode(id, value) {
			e, _, ok = findEntry(entryKey(drop, r.seq), tx.Bucket(bucketEntries))
		}
		return nil
	})
	return e, ok, err
}

// bins returns the maildrops whose bin holds something.
func (ix *index) bins() (drops []store.MaildropID, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketBin).Cursor()
		for k, _ := c.First(); k != nil; {
			drop := store.MaildropID(binary.BigEndian.Uint64(k))
			drops = append(drops, drop)
			k, _ = c.Seek(entryKey(drop+1, 0))
		}
		return nil
	})
	return drops, err
}

// purge removes for good what went into a bin before a moment, and returns how many messages that were.
func (s *Store) purge(ctx context.Context, before time.Time) (int, error) {
	if err := s.indexer.settle(0); err != nil {
		return 0, err
	}
	drops, err := s.index.bins()
	if err != nil {
		return 0, err
	}
	total := 0
	clock, now := s.keeper.clock.noted(), s.opt.Now()
	for _, drop := range drops {
		var seqs []uint64
		err := s.index.listBin(drop, func(e *entry) {
			if clock.binned(time.UnixMilli(e.binned), now).Before(before) {
				seqs = append(seqs, e.seq)
			}
		})
		if err == nil && len(seqs) > 0 {
			err = s.delete(ctx, kindPurge, drop, 0, seqs)
		}
		if err != nil {
			return total, fmt.Errorf("emptying the bin: %w", err)
		}
		total += len(seqs)
	}
	return total, nil
}

// Undelete implements store.Admin. Each message is one record that takes it out of the bin and files it again, so a call that
// is broken off can be made once more.
func (s *Store) Undelete(ctx context.Context, address string, since time.Time) (int, error) {
	acc := s.accounts.directory().accounts[address]
	if acc == nil {
		return 0, refuse(store.CodeMissing, "%s is no account: see letterbox user list", address)
	}
	s.undeleting.Lock() // a second call must not file again what the first one files
	defer s.undeleting.Unlock()
	if err := s.indexer.settle(acc.Maildrop); err != nil {
		return 0, err
	}
	var found []entry
	err := s.index.listBin(acc.Maildrop, func(e *entry) {
		if e.binned >= since.UnixMilli() {
			found = append(found, *e)
		}
	})
	if err != nil {
		return 0, err
	}
	tell, _ := store.ProgressOf(ctx)
	back := 0
	var damaged error // of the first that can't be read: it stays, and keeps back no other
	for i := range found {
		switch err := s.restore(ctx, acc.Maildrop, &found[i]); {
		case err == nil:
			back++
		case !errors.Is(err, store.ErrCorrupt):
			return back, err
		case damaged == nil:
			damaged = err
		}
		tell(int64(i+1), int64(len(found)))
	}
	return back, damaged
}

// restore files one message of the bin again, under an id of its own.
func (s *Store) restore(ctx context.Context, drop store.MaildropID, e *entry) error {
	at, err := placeOf(e)
	if err != nil {
		return err
	}
	m := &maildrop{s: s, drop: drop, messages: []store.Message{{ID: e.id, Octets: e.octets}}, places: []place{at}, ahead: s.log.Ahead()}
	rec, err := m.record(0, false)
	if err != nil {
		return corrupt(err)
	}
	view, err := messageOf(rec.Kind, rec.Flags, bytes.Clone(rec.Head))
	if err != nil {
		rec.Close() //nolint:errcheck // it never fails
		return corrupt(err)
	}
	old, err := m.assemble(rec, 0)
	if err != nil {
		rec.Close() //nolint:errcheck // it never fails
		return corrupt(err)
	}
	defer old.body.Close() //nolint:errcheck // it was read only
	d, err := s.Begin(ctx, store.Envelope{Session: string(view.session), From: string(view.from), Declared: old.size})
	if err != nil {
		return err
	}
	defer d.Discard()
	copied := d.(*draft)
	copied.kind, copied.replaces, copied.was = kindRestore, e.seq, e.id
	final := store.Final{Trace: view.trace, Recipients: []store.Recipient{{Maildrop: drop, Prefix: old.parts[0]}}}
	if _, err := io.Copy(d, io.NewSectionReader(old.body, 0, old.size)); err != nil {
		return err
	}
	return d.Commit(ctx, final)
}
