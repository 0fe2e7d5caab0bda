package boltstore

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"example.org/letterbox/store"
)

// idSource mints message ids: max(clock, last + 1), so that they ascend whatever the clock does.
type idSource struct {
	now func() time.Time

	mu   sync.Mutex
	last store.ID
}

// saw makes sure that no id up to id is minted.
func (s *idSource) saw(id store.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(id[:]) > string(s.last[:]) {
		s.last = id
	}
}

// next mints an id. A clock behind the last id is not used: the id then differs from the last by one.
func (s *idSource) next() store.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var id store.ID
	binary.BigEndian.PutUint64(id[:8], uint64(s.now().UnixMilli())<<16)
	rand.Read(id[6:]) //nolint:errcheck // it never fails
	id[6] &= 0x7f     // room to count up
	if string(id[:6]) <= string(s.last[:6]) {
		id = s.last
		for i := len(id) - 1; i >= 0; i-- {
			if id[i]++; id[i] != 0 {
				break
			}
		}
	}
	s.last = id
	return id
}
