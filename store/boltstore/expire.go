package boltstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"example.org/letterbox/store"
)

// expire deletes the messages that arrived before a moment, by the ids that they were given, but not before the clock was first
// believed in this store, and returns how many. A maildrop that a session holds is left for the next time: nothing vanishes from
// an open session.
func (s *Store) expire(ctx context.Context, before time.Time) (int, error) {
	if err := s.indexer.settle(0); err != nil {
		return 0, err
	}
	waiting, err := s.index.counts()
	if err != nil {
		return 0, err
	}
	total := 0
	for drop := range waiting {
		n, err := s.expireDrop(ctx, drop, before)
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

// expireDrop is expire for one maildrop, which is locked only where something has expired.
func (s *Store) expireDrop(ctx context.Context, drop store.MaildropID, before time.Time) (int, error) {
	if old, err := s.arrivedBefore(drop, before); err != nil || len(old) == 0 {
		return 0, err
	}
	release, ok := s.hold(drop)
	if !ok {
		return 0, nil
	}
	defer release()
	// An account that is removed with its mail is removed before or after.
	s.admission.RLock()
	defer s.admission.RUnlock()
	old, err := s.arrivedBefore(drop, before)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	seqs, ids := make([]uint64, len(old)), make([]store.ID, len(old))
	var freed int64
	for i, e := range old {
		seqs[i], ids[i] = e.seq, e.id
		freed += e.octets
	}
	s.remember(drop, slices.DeleteFunc(old, func(e entry) bool { return e.foreign == "" }))
	if err := s.delete(ctx, kindExpiry, drop, freed, seqs); err != nil {
		return 0, fmt.Errorf("expiry: %w", err)
	}
	s.gone(store.EventExpired, s.accounts.directory().name(drop), ids)
	return len(seqs), nil
}

// arrivedBefore lists what a maildrop holds from before a moment.
func (s *Store) arrivedBefore(drop store.MaildropID, before time.Time) ([]entry, error) {
	clock := s.keeper.clock.noted()
	entries, err := s.waiting(drop)
	return slices.DeleteFunc(entries, func(e entry) bool { return !clock.arrived(e.id.Time()).Before(before) }), err
}
