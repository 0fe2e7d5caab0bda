package boltstore

import (
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// Committed tells whether the message with this id is durable and somebody still has it, or gets it once the index has caught
// up. False says less: the message may have been fetched and deleted since, or its outcome may not be decided yet.
func (s *Store) Committed(ctx context.Context, id store.ID) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	// In this order: what leaves the queue stands in the index before.
	if s.indexer.brings(id) {
		return true, nil
	}
	found, err := s.index.alive(id)
	if err != nil {
		return false, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return found, nil
}

// brings tells whether a message with this id waits for the index.
func (x *indexer) brings(id store.ID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, g := range x.queue {
		for _, c := range g.changes {
			if c.id == id && c.kind == kindMessage {
				return true
			}
		}
	}
	return false
}

// alive tells whether some maildrop has the message.
func (ix *index) alive(id store.ID) (alive bool, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		alive = tx.Bucket(bucketIDs).Get(id[:]) != nil
		return nil
	})
	return alive, err
}
