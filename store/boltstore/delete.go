package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"math"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// deletion makes a record that deletes entries of a maildrop for good.
func (s *Store) deletion(kind uint8, drop store.MaildropID, freed int64, seqs []uint64) *seglog.Record {
	id := s.ids.next()
	return &seglog.Record{
		Kind: kind, ID: id, Head: deletionHead(drop, freed, seqs),
		Tag: &change{kind: kind, id: id, drop: drop, freed: freed, deleted: seqs},
	}
}

// binning makes a record that puts entries of a maildrop into its bin.
func (s *Store) binning(kind uint8, drop store.MaildropID, freed int64, seqs []uint64, moment int64) *seglog.Record {
	id := s.ids.next()
	head := append(binary.LittleEndian.AppendUint64(nil, uint64(moment)), deletionHead(drop, freed, seqs)...)
	return &seglog.Record{
		Kind: kind, ID: id, Head: head,
		Tag: &change{kind: kind, id: id, drop: drop, freed: freed, deleted: seqs, binned: moment},
	}
}

// discard makes a client's deletion durable: into the bin while deletions can be undone and there is room for that.
func (s *Store) discard(ctx context.Context, drop store.MaildropID, freed int64, seqs []uint64) error {
	if s.keep.Load().UndeleteFor <= 0 || s.space.tight(0) {
		return s.delete(ctx, kindDeletion, drop, freed, seqs)
	}
	moment := s.binMoment().UnixMilli()
	return s.write(ctx, func() *seglog.Record { return s.binning(kindBin, drop, freed, seqs, moment) })
}

// delete makes a deletion for good durable.
func (s *Store) delete(ctx context.Context, kind uint8, drop store.MaildropID, freed int64, seqs []uint64) error {
	return s.write(ctx, func() *seglog.Record { return s.deletion(kind, drop, freed, seqs) })
}

// write appends a record that deletes, once more behind the ballast where the disk is full.
func (s *Store) write(ctx context.Context, record func() *seglog.Record) error {
	// Reclaim looks which messages are wanted and copies them in one: nothing is deleted between.
	s.moving.RLock()
	defer s.moving.RUnlock()
	err := s.append(ctx, record())
	if errors.Is(err, store.ErrFull) && s.space.makeRoom(math.MaxInt64) {
		err = s.append(ctx, record())
	}
	return err
}
