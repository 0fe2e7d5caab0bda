package boltstore

import (
	"os"
	"unsafe"

	"go.etcd.io/bbolt"
)

// bbolt tells the kernel that it reads at random, so that each page of a cold file is a wait of its own: 287 ms for the 3,000
// pages of 100,000 entries, where reading ahead takes 40.
const (
	aheadFrom  = 256        // entries of a maildrop from which on it is done
	aheadFirst = 64 << 10   // octets: little more than a page costs, where the pages lie scattered
	aheadMost  = 1024 << 10 // octets, where they lie in a row
)

// ahead has a bbolt file read ahead of a cursor. It holds for one transaction.
type ahead struct {
	file     *os.File
	base     uintptr // of the file in memory
	from, to int64   // what was asked for last
}

// readAhead returns nil, whose methods do nothing, for so few entries that it would not help.
func (ix *index) readAhead(tx *bbolt.Tx, entries int64) *ahead {
	if entries < aheadFrom {
		return nil
	}
	return &ahead{file: ix.file, base: tx.DB().Info().Data}
}

// passed notes that a cursor stands at a key of the file, which has not been read yet.
func (a *ahead) passed(key []byte) {
	if a == nil {
		return
	}
	at := int64(uintptr(unsafe.Pointer(unsafe.SliceData(key))) - a.base)
	if a.from <= at && at < a.to {
		return
	}
	window := int64(aheadFirst)
	if size := a.to - a.from; a.to <= at && at-a.to < size { // it goes on about where the last piece ends
		window = min(2*size, aheadMost)
	}
	a.from, a.to = at, at+window
	willNeed(a.file, at, window)
}
