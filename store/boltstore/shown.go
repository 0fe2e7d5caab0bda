package boltstore

import (
	"context"
	"sync"

	"example.org/letterbox/store"
)

// shown counts how far several workers are, and tells the caller's Progress.
type shown struct {
	mu          sync.Mutex
	tell        store.Progress
	done, total int64
}

// newShown returns nil, whose methods do nothing, where nobody asked.
func newShown(ctx context.Context, total int64) *shown {
	tell, asked := store.ProgressOf(ctx)
	if !asked {
		return nil
	}
	return &shown{tell: tell, total: total}
}

// add notes that so much more is done.
func (s *shown) add(n int64) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = min(s.done+n, s.total)
	s.tell(s.done, s.total)
}

// end notes that all is done.
func (s *shown) end() {
	if s != nil {
		s.add(s.total)
	}
}
