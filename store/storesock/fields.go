package storesock

import (
	"encoding/binary"
	"math"
	"net/netip"

	"example.org/letterbox/store"
)

// Contents of binary frames: integers are uvarints, strings have their length in front, ids are 16 octets.

func appendString[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendPeer(b []byte, peer netip.Addr) []byte {
	raw, _ := peer.MarshalBinary() // never fails
	return appendString(b, raw)
}

// fields takes a content apart. After the first field that does not fit, bad is set and all further fields are empty.
type fields struct {
	b   []byte
	bad bool
}

// end tells whether everything fitted and nothing is left.
func (f *fields) end() bool { return !f.bad && len(f.b) == 0 }

func (f *fields) fail() {
	f.bad, f.b = true, nil
}

// uint returns a number up to limit.
func (f *fields) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 || v > limit {
		f.fail()
		return 0
	}
	f.b = f.b[n:]
	return v
}

// octets returns a size, which is never negative.
func (f *fields) octets() int64 { return int64(f.uint(math.MaxInt64)) }

// take returns the next n octets, which are those of the frame.
func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.fail()
		return nil
	}
	b := f.b[:n:n]
	f.b = f.b[n:]
	return b
}

// bytes returns a string of up to limit octets, which are those of the frame.
func (f *fields) bytes(limit int) []byte { return f.take(int(f.uint(uint64(limit)))) }

func (f *fields) string(limit int) string { return string(f.bytes(limit)) }

func (f *fields) id() (id store.ID) {
	copy(id[:], f.take(len(id)))
	return id
}

// peer returns an address, or none.
func (f *fields) peer() (peer netip.Addr) {
	if peer.UnmarshalBinary(f.bytes(maxZone)) != nil {
		f.fail()
	}
	return peer
}

// maxZone bounds an address with its zone, in octets.
const maxZone = 16 + 64
