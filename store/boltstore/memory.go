package boltstore

import (
	"sync"
	"sync/atomic"
)

// Sizes of the pieces in which drafts hold their bodies: a small first one, since most connections never send much.
const (
	firstPiece = 4 << 10
	nextPiece  = 32 << 10
)

// bodyMemory bounds what all drafts hold together, in octets.
type bodyMemory struct {
	limit int64
	used  atomic.Int64
	first sync.Pool
	next  sync.Pool
}

func newBodyMemory(limit int64) *bodyMemory {
	return &bodyMemory{
		limit: limit,
		first: sync.Pool{New: func() any { return new([firstPiece]byte) }},
		next:  sync.Pool{New: func() any { return new([nextPiece]byte) }},
	}
}

// piece returns an empty buffer, or nil when the bound is reached.
func (m *bodyMemory) piece(first bool) []byte {
	size := int64(nextPiece)
	if first {
		size = firstPiece
	}
	if m.used.Add(size) > m.limit {
		m.used.Add(-size)
		return nil
	}
	if first {
		return m.first.Get().(*[firstPiece]byte)[:0]
	}
	return m.next.Get().(*[nextPiece]byte)[:0]
}

// free takes pieces back.
func (m *bodyMemory) free(pieces [][]byte) {
	for _, p := range pieces {
		m.used.Add(-int64(cap(p)))
		if cap(p) == firstPiece {
			m.first.Put((*[firstPiece]byte)(p[:firstPiece]))
		} else {
			m.next.Put((*[nextPiece]byte)(p[:nextPiece]))
		}
	}
}
