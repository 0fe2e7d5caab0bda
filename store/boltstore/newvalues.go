package boltstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"example.org/letterbox/store"
)

// packFrom is how many new entries each maildrop of a transaction has on average from which on pages of entries are filled:
// all of them end a maildrop, so no page of a large one would ever be filled later. Where many maildrops have a few each,
// new entries come between others, and need room there.
const packFrom = 32

// sortBeside is from how many new values on the entries are sorted while the references are written: a tenth of what a rebuild takes.
const sortBeside = 1024

// putAll writes what message gathered.
func (a *applier) putAll() error {
	sorted := make(chan struct{})
	if len(a.puts) >= sortBeside {
		go func() {
			defer close(sorted)
			sortValues(a.puts)
		}()
	} else {
		sortValues(a.puts)
		close(sorted)
	}
	err := a.putRefs()
	<-sorted
	if err == nil {
		err = a.putEntries()
	}
	a.puts, a.news = a.puts[:0], a.news[:0]
	return err
}

func sortValues(values []newValue) {
	slices.SortFunc(values, func(v, w newValue) int { return v.compare(&w) })
}

func (a *applier) putEntries() error {
	if len(a.puts) >= packFrom*len(a.moved) {
		a.entries.FillPercent = 0.9
	}
	for _, p := range a.puts {
		if err := a.entries.Put(p.appendKey(a.key[:0]), p.value); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) putRefs() error {
	sortValues(a.news)
	for i, p := range a.news {
		key := p.appendKey(a.key[:0])
		if i > 0 && p.compare(&a.news[i-1]) == 0 {
			return twice(key)
		}
		if err := a.ids.Put(key, p.value); err != nil {
			return err
		}
		if bytes.Compare(key, a.top[:]) > 0 {
			a.top = store.ID(key)
		}
	}
	return nil
}

// newValue is a value that is to be written, with its key of 16 octets as two numbers, which are compared faster.
type newValue struct {
	high, low uint64
	value     []byte
}

func newValueOf(key, value []byte) newValue {
	return newValue{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:]), value}
}

func (v *newValue) compare(w *newValue) int {
	return cmp.Or(cmp.Compare(v.high, w.high), cmp.Compare(v.low, w.low))
}

// appendKey is the key.
func (v *newValue) appendKey(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, v.high), v.low)
}

func twice(id []byte) error {
	return fmt.Errorf("%w: the id %s stands for two messages", errIndex, store.ID(id))
}

// space returns an empty slice with room for n octets, which took must follow.
func (a *applier) space(n int) []byte {
	const piece = 64 << 10
	if cap(a.room) < n {
		a.room = make([]byte, 0, max(n, piece))
	}
	return a.room
}

// took keeps what was written into what space returned.
func (a *applier) took(b []byte) []byte {
	a.room = b[len(b):]
	return b[:len(b):len(b)]
}
