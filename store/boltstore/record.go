package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// Kinds of records in the log.
const (
	kindMessage  = 1 // head: messageHead; body: the canonical message as it came
	kindDeletion = 2 // head: deletionHead; one for each QUIT
	kindRemoval  = 3 // head: deletionHead; an account was removed together with its mail

	// Made by reclaim, and counted nowhere, since they repeat what was counted.
	kindMove      = 4 // head: sequence number and segment of the original, then as kindMessage; counts while its id lives
	kindTombstone = 5 // head: deletionHead; carries deletions forward while a copy of what they delete may exist

	kindLoss = 6 // head: signed varints: entries and octets that a repair found missing

	kindExpiry = 7 // head: deletionHead; mail that had waited for too long

	// Of format 2.
	kindBin      = 8  // head: moment, deletionHead; a deletion that can be undone: the entries lie in the bin from then on
	kindPurge    = 9  // head: deletionHead; what lay in the bin is gone
	kindRestore  = 10 // head: sequence number of the entry in the bin that it takes the place of, 0 for mail from a backup, then as kindMessage
	kindImport   = 11 // as kindMessage; mail that came from another store
	kindBinAgain = 12 // as kindBin; made by reclaim, as kindTombstone is

	kindCanary = 13 // as kindMessage without recipients, or an empty head: what the canary sends, and that it deleted it
)

// Flags of a record that brings a message.
const (
	flagExternal = 0x1 // the body is a file in bodies/
	flagForeign  = 0x2 // the head has the UIDL that the message brought with it
	flagBinned   = 0x4 // of a kindMove: each recipient is followed by the moment since which its entry lies in the bin, or 0

	knownFlags = flagExternal | flagForeign | flagBinned
)

// change is what one record of the log does to the index. It is made when the record is written, and again from the
// record's head at replay.
type change struct {
	kind  uint8
	flags uint16
	id    store.ID
	seq   uint64
	pos   seglog.Pos
	size  int64 // of the whole record

	recipients []entryRef // of a record that brings a message
	octets     int64      // of these: trace and body
	foreign    string     // with flagForeign
	sum        uint32     // CRC-32C of the body
	from       uint64     // kindMove: segment of the original
	replaces   uint64     // kindRestore: sequence number of the entry in the bin, or 0

	drop    store.MaildropID // of a record that deletes
	deleted []uint64         // sequence numbers, ascending
	freed   int64            // octets of the deleted entries, or of the lost
	binned  int64            // kindBin, kindBinAgain: when, in Unix milliseconds
	lost    int64            // kindLoss: entries
}

// entryRef is one recipient of a message.
type entryRef struct {
	drop   store.MaildropID
	prefix int64 // octets of its own header lines
	binned int64 // 0, or since when its entry lies in the bin, in Unix milliseconds
}

// brings tells whether the record holds a message.
func brings(kind uint8) bool {
	return kind == kindMessage || kind == kindMove || kind == kindRestore || kind == kindImport
}

// placed tells the change where its record was written.
func (c *change) placed(h *seglog.Header, pos seglog.Pos) {
	c.pos, c.size = pos, h.Size()
	if brings(c.kind) && c.flags&flagExternal == 0 {
		c.sum = h.BodySum()
	}
	if c.kind != kindMove { // which keeps the number of the original
		c.seq = h.Seq
	}
}

var errHead = errors.New("record's head can't be read")

func appendBytes(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

// deletionHead is the head of a record that deletes.
//
//	maildrop (8); uvarint octets freed; uvarint number; each: uvarint distance from the sequence number before
func deletionHead(drop store.MaildropID, freed int64, deleted []uint64) []byte {
	b := make([]byte, 0, 8+(2+len(deleted))*3)
	b = binary.LittleEndian.AppendUint64(b, uint64(drop))
	b = binary.AppendUvarint(b, uint64(freed))
	b = binary.AppendUvarint(b, uint64(len(deleted)))
	var last uint64
	for _, seq := range deleted {
		b = binary.AppendUvarint(b, seq-last)
		last = seq
	}
	return b
}

// headReader takes a head apart. After the first field that does not fit, ok is false and all further fields are empty.
type headReader struct {
	b   []byte
	bad bool
}

func (r *headReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *headReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *headReader) bytes() []byte { return r.take(r.uvarint()) }

func (r *headReader) drop() store.MaildropID {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return store.MaildropID(binary.LittleEndian.Uint64(b))
}

// appendMoved is the head of a kindMove record.
func appendMoved(seq, from uint64, head []byte) []byte {
	b := make([]byte, 0, len(head)+2*binary.MaxVarintLen64)
	return append(binary.AppendUvarint(binary.AppendUvarint(b, seq), from), head...)
}

// moved takes apart what stands in front of the message's head in a kindMove record.
func moved(head []byte) (seq, from uint64, rest []byte, err error) {
	r := headReader{b: head}
	seq, from = r.uvarint(), r.uvarint()
	if r.bad {
		err = errHead
	}
	return seq, from, r.b, err
}

// appendReplaced is the head of a kindRestore record.
func appendReplaced(seq uint64, head []byte) []byte {
	return append(binary.AppendUvarint(make([]byte, 0, len(head)+binary.MaxVarintLen64), seq), head...)
}

// replaced takes apart what stands in front of the message's head in a kindRestore record.
func replaced(head []byte) (seq uint64, rest []byte, err error) {
	r := headReader{b: head}
	if seq = r.uvarint(); r.bad {
		err = errHead
	}
	return seq, r.b, err
}

// changeOf reads a record's head at replay.
func changeOf(h *seglog.Header, pos seglog.Pos, head []byte) (*change, error) {
	c := new(change)
	if err := c.read(h, pos, head, nil); err != nil {
		return nil, err
	}
	return c, nil
}

// read makes c what a record says. It puts the recipients where those of c were, and takes them apart in room where they fit
// in there. head is not kept.
func (c *change) read(h *seglog.Header, pos seglog.Pos, head []byte, room []recipientView) error {
	*c = change{kind: h.Kind, flags: h.Flags, id: h.ID, recipients: c.recipients[:0]}
	c.placed(h, pos)
	if err := c.readHead(h, head, room); err != nil {
		return fmt.Errorf("%s: %w", pos, err)
	}
	return nil
}

func (c *change) readHead(h *seglog.Header, head []byte, room []recipientView) (err error) {
	switch h.Kind {
	case kindMove:
		if c.seq, c.from, _, err = moved(head); err == nil {
			err = c.readMessage(h, head, room)
		}
	case kindRestore:
		if c.replaces, _, err = replaced(head); err == nil {
			err = c.readMessage(h, head, room)
		}
	case kindMessage, kindImport:
		err = c.readMessage(h, head, room)
	case kindBin, kindBinAgain:
		if len(head) < 8 {
			return errHead
		}
		c.binned = int64(binary.LittleEndian.Uint64(head))
		err = c.readDeletion(head[8:])
	case kindDeletion, kindRemoval, kindExpiry, kindPurge, kindTombstone:
		err = c.readDeletion(head)
	case kindLoss:
		err = c.readLoss(head)
	case kindCanary:
		c.drop, err = canaryDrop, checkCanary(head, h.Flags)
	default:
		err = fmt.Errorf("record of the unknown kind %d: start the version that wrote it", h.Kind)
	}
	return err
}

func (c *change) readMessage(h *seglog.Header, head []byte, room []recipientView) error {
	m, err := messageInto(room, h.Kind, h.Flags, head)
	if err != nil {
		return err
	}
	c.octets = int64(len(m.trace)) + int64(h.BodyLen) + m.body.size
	for _, r := range m.recipients {
		c.recipients = append(c.recipients, entryRef{r.drop, int64(len(r.prefix)), r.binned})
	}
	c.foreign = string(m.foreign)
	if h.Flags&flagExternal != 0 {
		c.sum = m.body.sum
	}
	return nil
}

func (c *change) readLoss(head []byte) error {
	var n, m int
	c.lost, n = binary.Varint(head)
	if n <= 0 {
		return errHead
	}
	if c.freed, m = binary.Varint(head[n:]); m <= 0 {
		return errHead
	}
	return nil
}

func (c *change) readDeletion(head []byte) error {
	r := headReader{b: head}
	c.drop, c.freed = r.drop(), int64(r.uvarint())
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		return errHead
	}
	c.deleted = make([]uint64, n)
	var last uint64
	for i := range c.deleted {
		last += r.uvarint()
		c.deleted[i] = last
	}
	if r.bad {
		return errHead
	}
	return nil
}
