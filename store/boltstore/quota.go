package boltstore

import (
	"fmt"

	"example.org/letterbox/store"
)

// withinQuota tells whether maildrops may take a message of a declared size; where none was declared, one that has room left
// may. A message that was so accepted may go beyond by itself.
func (s *Store) withinQuota(dir *directory, drops []store.MaildropID, size int64) error {
	p := s.keep.Load()
	for _, drop := range drops {
		one, all := s.indexer.holds(drop)
		if total := (store.Quota{Octets: p.TotalOctets, Messages: p.TotalMessages}); !within(total, all, size) {
			return fmt.Errorf("%w: all accounts together", store.ErrOverQuota)
		}
		own := store.Quota{Octets: p.AccountOctets, Messages: p.AccountMessages}
		if acc := dir.byDrop[drop]; acc != nil && acc.Quota != nil {
			own = *acc.Quota
		}
		if !within(own, one, size) {
			return fmt.Errorf("%w: maildrop %d", store.ErrOverQuota, drop)
		}
	}
	return nil
}

func within(q store.Quota, n counts, size int64) bool {
	return (q.Messages <= 0 || n.messages < q.Messages) && (q.Octets <= 0 || n.octets+max(size, 1) <= q.Octets)
}
