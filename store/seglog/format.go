package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"

	"golang.org/x/crypto/blake2b"
)

const (
	segmentMagic  = "LBSEGLOG"
	recordMagic   = "LBR1"
	formatVersion = 1
	segmentHeader = 192
	recordHeader  = 80
	sealSize      = 16

	// maxHead bounds a record's head, which replay reads into memory: a deletion of a million messages fits.
	maxHead = 16 << 20
)

// Totals are the caller's running totals, kept in each segment's header.
type Totals [8]uint64

// Pos is the place of a record: the number of its segment and its offset there.
type Pos struct {
	Segment uint64
	Offset  int64
}

// Before tells whether p stands in front of q.
func (p Pos) Before(q Pos) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// String returns segment:offset, for messages to the operator.
func (p Pos) String() string { return fmt.Sprintf("segment %d, offset %d", p.Segment, p.Offset) }

// Mark is a place between two records, together with what is needed to go on from there.
type Mark struct {
	Pos
	Seq   uint64 // sequence number of the last record in front of it
	Chain uint32 // chain of the segment up to it
}

// Header is what a record says of itself.
type Header struct {
	Kind    uint8
	Flags   uint16
	ID      [16]byte
	Seq     uint64 // given by Append
	HeadLen uint32
	BodyLen uint64

	length    uint64
	durableTo int64
	headSum   uint32
	bodySum   uint32
}

// Size is the number of octets that the record takes in its segment.
func (h *Header) Size() int64 { return recordHeader + int64(h.length) }

// BodySum is the CRC-32C of the body.
func (h *Header) BodySum() uint32 { return h.bodySum }

// Corrupt says that the log does not hold what was written to it.
type Corrupt struct {
	Pos
	ID     [16]byte // zero where it is not known
	Reason string
}

// Error names the segment, the offset and the id.
func (c *Corrupt) Error() string {
	if c.ID == ([16]byte{}) {
		return fmt.Sprintf("log is damaged at %s: %s", c.Pos, c.Reason)
	}
	return fmt.Sprintf("log is damaged at %s, record %x: %s", c.Pos, c.ID, c.Reason)
}

var errNoRecord = errors.New("no record here")

// sealer makes and checks seals. It is not safe for concurrent use.
type sealer struct {
	h     hash.Hash
	sum   [blake2b.Size256]byte
	place [16]byte
}

func newSealer(key []byte) (*sealer, error) {
	h, err := blake2b.New256(key)
	if err != nil {
		return nil, fmt.Errorf("key of the log: %w", err)
	}
	return &sealer{h: h}, nil
}

func (s *sealer) seal(parts ...[]byte) []byte {
	s.h.Reset()
	for _, p := range parts {
		s.h.Write(p)
	}
	return s.h.Sum(s.sum[:0])[:sealSize]
}

func (s *sealer) sealRecord(buf []byte, at Pos) []byte {
	binary.LittleEndian.PutUint64(s.place[:8], at.Segment)
	binary.LittleEndian.PutUint64(s.place[8:], uint64(at.Offset))
	return s.seal(buf[:recordHeader-sealSize], s.place[:])
}

// put writes h into the recordHeader octets of buf, sealed for its place.
func (h *Header) put(buf []byte, at Pos, s *sealer) {
	le := binary.LittleEndian
	copy(buf, recordMagic)
	buf[4] = formatVersion
	buf[5] = h.Kind
	le.PutUint16(buf[6:], h.Flags)
	le.PutUint64(buf[8:], h.length)
	copy(buf[16:32], h.ID[:])
	le.PutUint64(buf[32:], h.Seq)
	le.PutUint64(buf[40:], uint64(h.durableTo))
	le.PutUint32(buf[48:], h.HeadLen)
	le.PutUint32(buf[52:], h.headSum)
	le.PutUint32(buf[56:], h.bodySum)
	le.PutUint32(buf[60:], 0)
	copy(buf[64:], s.sealRecord(buf, at))
}

// parse reads what put wrote; errNoRecord when the seal is not that of a record at this place.
func (h *Header) parse(buf []byte, at Pos, s *sealer, known uint16) error {
	if len(buf) < recordHeader || string(buf[:4]) != recordMagic || string(s.sealRecord(buf, at)) != string(buf[64:recordHeader]) {
		return errNoRecord
	}
	le := binary.LittleEndian
	h.Kind, h.Flags = buf[5], le.Uint16(buf[6:])
	if buf[4] != formatVersion {
		return fmt.Errorf("%s: the record has format version %d, this program knows %d: start the version that wrote it", at, buf[4], formatVersion)
	}
	if unknown := h.Flags &^ known; unknown != 0 {
		return fmt.Errorf("%s: the record has the unknown flag %#x: start the version that wrote it", at, unknown)
	}
	h.length = le.Uint64(buf[8:])
	copy(h.ID[:], buf[16:32])
	h.Seq = le.Uint64(buf[32:])
	h.durableTo = int64(le.Uint64(buf[40:]))
	h.HeadLen, h.headSum, h.bodySum = le.Uint32(buf[48:]), le.Uint32(buf[52:]), le.Uint32(buf[56:])
	if uint64(h.HeadLen) > h.length || h.HeadLen > maxHead || h.length > 1<<48 {
		return &Corrupt{Pos: at, ID: h.ID, Reason: "lengths do not fit"}
	}
	h.BodyLen = h.length - uint64(h.HeadLen)
	return nil
}

// segRepaired marks a segment that Repair wrote anew: the seal that the next one has for it does not hold any more.
const segRepaired = 1

// segHeader is the header of a segment.
type segHeader struct {
	flags    uint32
	store    [16]byte
	number   uint64
	firstSeq uint64
	totals   Totals
	prev     Mark     // its Pos is where the segment before ends; Seq is not kept
	born     int64    // up to here it was durable when it got its name
	note     [16]byte // the caller's
}

func (h *segHeader) encode(s *sealer) []byte {
	le := binary.LittleEndian
	buf := make([]byte, segmentHeader)
	copy(buf, segmentMagic)
	le.PutUint32(buf[8:], formatVersion)
	le.PutUint32(buf[12:], h.flags)
	copy(buf[16:32], h.store[:])
	le.PutUint64(buf[32:], h.number)
	le.PutUint64(buf[40:], h.firstSeq)
	for i, t := range h.totals {
		le.PutUint64(buf[48+8*i:], t)
	}
	le.PutUint64(buf[112:], h.prev.Segment)
	le.PutUint64(buf[120:], uint64(h.prev.Offset))
	le.PutUint32(buf[128:], h.prev.Chain)
	le.PutUint64(buf[136:], uint64(h.born))
	copy(buf[144:160], h.note[:])
	copy(buf[176:], s.seal(buf[:176]))
	return buf
}

func (h *segHeader) parse(buf []byte, s *sealer) error {
	le := binary.LittleEndian
	if len(buf) < segmentHeader || string(buf[:8]) != segmentMagic {
		return errors.New("does not begin as a segment does")
	}
	if v := le.Uint32(buf[8:]); v != formatVersion {
		return fmt.Errorf("has format version %d, this program knows %d: start the version that wrote it", v, formatVersion)
	}
	if string(s.seal(buf[:176])) != string(buf[176:segmentHeader]) {
		return errors.New("has a damaged header, or belongs to another store")
	}
	h.flags = le.Uint32(buf[12:])
	if unknown := h.flags &^ segRepaired; unknown != 0 {
		return fmt.Errorf("has the unknown flag %#x: start the version that wrote it", unknown)
	}
	copy(h.store[:], buf[16:32])
	h.number, h.firstSeq = le.Uint64(buf[32:]), le.Uint64(buf[40:])
	for i := range h.totals {
		h.totals[i] = le.Uint64(buf[48+8*i:])
	}
	h.born = int64(le.Uint64(buf[136:]))
	copy(h.note[:], buf[144:160])
	h.prev = Mark{Pos: Pos{le.Uint64(buf[112:]), int64(le.Uint64(buf[120:]))}, Chain: le.Uint32(buf[128:])}
	return nil
}

// crcTable is the polynomial of CRC-32C, for which processors have an instruction.
func crcTable() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func checksum(bufs ...[]byte) uint32 {
	var sum uint32
	for _, b := range bufs {
		sum = crc32.Update(sum, crcTable(), b)
	}
	return sum
}

func chainOn(chain uint32, header []byte) uint32 { return crc32.Update(chain, crcTable(), header) }
