package boltstore

import "time"

// KeepPolicy says how long mail is kept, and how much. The zero value keeps mail for ever, deletes for good and has no quota.
type KeepPolicy struct {
	// ExpireAfter is how long mail waits, counted from its arrival in this store, before it expires; 0 for ever.
	ExpireAfter time.Duration
	// UndeleteFor is how long deleted mail lies in the bin, from which Undelete takes it; 0: deleted means gone.
	UndeleteFor time.Duration

	// Quotas, 0 for none. A maildrop or a store that has as much takes no further message; one that was accepted before may
	// go beyond by itself.
	AccountOctets, AccountMessages int64 // of each account that has none of its own
	TotalOctets, TotalMessages     int64 // of all accounts together

	// HistoryFor is how long the history is kept, and HistoryBytes how much of it; 0 for none.
	HistoryFor   time.Duration
	HistoryBytes int64
}

// SetKeep replaces the policy.
func (s *Store) SetKeep(p KeepPolicy) {
	s.keep.Store(&p)
	if s.history != nil { // it is opened last
		s.history.SetPolicy(p.history())
	}
}
