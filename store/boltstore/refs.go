package boltstore

import (
	"encoding/binary"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// refs is a value of bucketIDs: where a message's entries are.
type refs struct {
	seq   uint64
	pos   seglog.Pos // of the record
	size  int64      // of the record
	flags uint16
	drops []store.MaildropID // those that still have the message
}

// refsHead is their length without the maildrops: four words, flags, and the checksum in front.
const refsHead = 4 + 4*8 + 2

func (r *refs) encode(id store.ID) []byte {
	return r.appendTo(make([]byte, 0, refsHead+8*len(r.drops)), id)
}

// appendTo is encode into b, which is returned.
func (r *refs) appendTo(b []byte, id store.ID) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for _, v := range []uint64{r.seq, r.pos.Segment, uint64(r.pos.Offset), uint64(r.size)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint16(b, r.flags)
	for _, drop := range r.drops {
		b = binary.BigEndian.AppendUint64(b, uint64(drop))
	}
	sealValue(id[:], b[at:])
	return b
}

// decode reads what encode wrote. It puts the maildrops where those of r were.
func (r *refs) decode(id store.ID, b []byte) bool {
	r.drops = r.drops[:0]
	if len(b) < refsHead || (len(b)-refsHead)%8 != 0 || !soundValue(id[:], b) {
		return false
	}
	word := func(i int) uint64 { return binary.BigEndian.Uint64(b[4+8*i:]) }
	r.seq, r.pos, r.size = word(0), seglog.Pos{Segment: word(1), Offset: int64(word(2))}, int64(word(3))
	r.flags = binary.BigEndian.Uint16(b[4+4*8:])
	for b = b[refsHead:]; len(b) > 0; b = b[8:] {
		r.drops = append(r.drops, store.MaildropID(binary.BigEndian.Uint64(b)))
	}
	return true
}

// of makes r what the index holds of a new message. It puts the maildrops where those of r were.
func (r *refs) of(c *change) {
	*r = refs{seq: c.seq, pos: c.pos, size: c.size, flags: c.flags, drops: r.drops[:0]}
	for _, to := range c.recipients {
		r.drops = append(r.drops, to.drop)
	}
}
