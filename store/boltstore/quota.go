package boltstore

import (
	"fmt"

	"example.org/letterbox/store"
)

// withinQuota tells whether maildrops may take a message of a declared size; where none was declared, one that has room left
// may. A message that was so accepted may go beyond by itself. Of the maildrops behind one forward-path all take it or none:
// there is one reply for them, and to leave out the one that is full would lose its copy without a word.
func (s *Store) withinQuota(dir *directory, drops []store.MaildropID, size int64) error {
	p := s.keep.Load()
	for _, drop := range drops {
		one, all := s.indexer.holds(drop)
		if total := (store.Quota{Octets: p.TotalOctets, Messages: p.TotalMessages}); !within(total, all, size) {
			return fmt.Errorf("%w: all accounts together", store.ErrOverQuota)
		}
		if !within(dir.quota(drop, p), one, size) {
			return fmt.Errorf("%w: maildrop %d", store.ErrOverQuota, drop)
		}
	}
	return nil
}

func within(q store.Quota, n counts, size int64) bool {
	return (q.Messages <= 0 || n.messages < q.Messages) && (q.Octets <= 0 || max(size, 1) <= q.Octets-n.octets)
}

// quotaUsed returns the largest share of a quota that is used, 0 where there is none.
func (s *Store) quotaUsed(dir *directory) (share float64) {
	p := s.keep.Load()
	most := func(q store.Quota, n counts) {
		if q.Messages > 0 {
			share = max(share, float64(n.messages)/float64(q.Messages))
		}
		if q.Octets > 0 {
			share = max(share, float64(n.octets)/float64(q.Octets))
		}
	}
	_, all := s.indexer.holds(0)
	most(store.Quota{Octets: p.TotalOctets, Messages: p.TotalMessages}, all)
	for drop := range dir.byDrop {
		if q := dir.quota(drop, p); q != (store.Quota{}) { // one after the other: deliveries wait for none of it
			one, _ := s.indexer.holds(drop)
			most(q, one)
		}
	}
	return share
}

// quota is what bounds a maildrop: its account's own, else the policy's.
func (d *directory) quota(drop store.MaildropID, p *KeepPolicy) store.Quota {
	if acc := d.byDrop[drop]; acc != nil && acc.Quota != nil {
		return *acc.Quota
	}
	return store.Quota{Octets: p.AccountOctets, Messages: p.AccountMessages}
}
