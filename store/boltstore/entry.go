package boltstore

import (
	"encoding/binary"
	"hash/crc32"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

func entryKey(drop store.MaildropID, seq uint64) []byte {
	return appendEntryKey(make([]byte, 0, 16), drop, seq)
}

func appendEntryKey(b []byte, drop store.MaildropID, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(drop)), seq)
}

// entry is one message in one maildrop.
type entry struct {
	seq     uint64
	id      store.ID
	pos     seglog.Pos
	octets  int64
	foreign string
	sum     uint32 // CRC-32C of the body, with a foreign UIDL
	binned  int64  // since when it lies in the bin, in Unix milliseconds; 0 for mail that waits
}

// sealValue puts the checksum of key and value into the first four octets of the value: bbolt has none for its pages.
func sealValue(key, value []byte) []byte {
	binary.BigEndian.PutUint32(value, crc32.Update(crc32.Checksum(key, castagnoli()), castagnoli(), value[4:]))
	return value
}

// sealOf returns the checksum that sealValue put into a value.
func sealOf(value []byte) uint32 { return binary.BigEndian.Uint32(value) }

// soundValue tells whether a value is what sealValue returned for this key.
func soundValue(key, value []byte) bool {
	table := castagnoli()
	return len(value) >= 4 && binary.BigEndian.Uint32(value) == crc32.Update(crc32.Checksum(key, table), table, value[4:])
}

// Flags of an entry: its octets are followed by the moment at which it went into the bin, and by the checksum of its body and
// the foreign UIDL.
const (
	entryBinned  = 1
	entryForeign = 2
)

// maxEntry is the most that an entry takes without its foreign UIDL.
const maxEntry = 4 + 16 + 1 + 4*binary.MaxVarintLen64 + 4

// encode writes a checksum, id, flags, segment, offset, octets and what the flags say; the foreign UIDL takes what is left.
func (e *entry) encode(key []byte) []byte {
	return e.appendTo(make([]byte, 0, maxEntry+len(e.foreign)), key)
}

// appendTo is encode into b, which is returned.
func (e *entry) appendTo(b, key []byte) []byte {
	at := len(b)
	b = append(append(b, 0, 0, 0, 0), e.id[:]...)
	var flags byte
	if e.binned != 0 {
		flags |= entryBinned
	}
	if e.foreign != "" {
		flags |= entryForeign
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, e.pos.Segment)
	b = binary.AppendUvarint(b, uint64(e.pos.Offset))
	b = binary.AppendUvarint(b, uint64(e.octets))
	if e.binned != 0 {
		b = binary.AppendUvarint(b, uint64(e.binned))
	}
	if e.foreign != "" {
		b = append(binary.BigEndian.AppendUint32(b, e.sum), e.foreign...)
	}
	sealValue(key, b[at:])
	return b
}

func (e *entry) decode(key, value []byte) bool {
	if len(key) != 16 || !soundValue(key, value) {
		return false
	}
	r := headReader{b: value[4:]}
	copy(e.id[:], r.take(16))
	var flags byte
	if f := r.take(1); f != nil {
		flags = f[0]
	}
	e.pos = seglog.Pos{Segment: r.uvarint(), Offset: int64(r.uvarint())}
	e.octets = int64(r.uvarint())
	if e.binned = 0; flags&entryBinned != 0 {
		e.binned = int64(r.uvarint())
	}
	if e.sum = 0; flags&entryForeign != 0 {
		if sum := r.take(4); sum != nil {
			e.sum = binary.BigEndian.Uint32(sum)
		}
	}
	e.foreign = string(r.b)
	if r.bad {
		return false
	}
	e.seq = binary.BigEndian.Uint64(key[8:])
	return true
}
