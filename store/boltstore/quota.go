package boltstore

import (
	"cmp"
	"fmt"
	"slices"

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

// quotaUsed returns the largest share of a quota that is used, 0 where there is none. It takes no lock.
func (s *Store) quotaUsed(dir *directory, all totals) (share float64) {
	p := s.keep.Load()
	most := func(q store.Quota, n counts) {
		if q.Messages > 0 {
			share = max(share, float64(n.messages)/float64(q.Messages))
		}
		if q.Octets > 0 {
			share = max(share, float64(n.octets)/float64(q.Octets))
		}
	}
	most(store.Quota{Octets: p.TotalOctets, Messages: p.TotalMessages}, counts{messages: all.present(), octets: all.octets})
	s.indexer.tallied(func(drop store.MaildropID, n counts) {
		if dir.byDrop[drop] != nil {
			most(dir.quota(drop, p), n)
		}
	})
	return share
}

// Waiting returns what waits for each account, ordered by address, and says nothing else of it. It takes no lock, and waits for
// nothing: it is for metrics.
func (s *Store) Waiting() []store.Account {
	dir := s.accounts.directory()
	waiting := map[store.MaildropID]counts{}
	s.indexer.tallied(func(drop store.MaildropID, n counts) { waiting[drop] = n })
	all := make([]store.Account, 0, len(dir.accounts))
	for address, acc := range dir.accounts {
		n := waiting[acc.Maildrop]
		all = append(all, store.Account{Address: address, Maildrop: acc.Maildrop, Messages: n.messages, Octets: n.octets})
	}
	slices.SortFunc(all, func(a, b store.Account) int { return cmp.Compare(a.Address, b.Address) })
	return all
}

// quota is what bounds a maildrop: its account's own, else the policy's.
func (d *directory) quota(drop store.MaildropID, p *KeepPolicy) store.Quota {
	if acc := d.byDrop[drop]; acc != nil && acc.Quota != nil {
		return *acc.Quota
	}
	return store.Quota{Octets: p.AccountOctets, Messages: p.AccountMessages}
}
