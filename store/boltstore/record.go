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

// messageView is a message's head, taken apart; its fields point into the head.
type messageView struct {
	session, from, trace []byte
	recipients           []recipientView
	body                 external // with flagExternal
	foreign              []byte   // with flagForeign
}

type recipientView struct {
	drop   store.MaildropID
	prefix []byte
	binned int64 // with flagBinned
}

func parseMessageHead(head []byte, flags uint16) (messageView, error) {
	return messageHeadInto(nil, head, flags)
}

// messageHeadInto is parseMessageHead, with the recipients in room where they fit in there.
func messageHeadInto(room []recipientView, head []byte, flags uint16) (messageView, error) {
	r := headReader{b: head}
	m := messageView{session: r.bytes(), from: r.bytes(), trace: r.bytes()}
	n := r.uvarint()
	if n > store.MaxRecipients {
		return m, errHead
	}
	if m.recipients = room; uint64(len(room)) < n {
		m.recipients = make([]recipientView, n)
	}
	m.recipients = m.recipients[:n]
	for i := range m.recipients {
		m.recipients[i] = recipientView{drop: r.drop(), prefix: r.bytes()}
		if flags&flagBinned != 0 {
			m.recipients[i].binned = int64(r.uvarint())
		}
	}
	if flags&flagExternal != 0 {
		m.body.size = int64(r.uvarint())
		if sum := r.take(4); sum != nil {
			m.body.sum = binary.LittleEndian.Uint32(sum)
		}
	}
	if flags&flagForeign != 0 {
		m.foreign = r.bytes()
	}
	if r.bad {
		return m, errHead
	}
	return m, nil
}

// encode writes the head of a record that brings a message: envelope, trace, recipients, and what the flags say.
//
//	uvarint length, session; uvarint length, reverse-path; uvarint length, trace
//	uvarint number of recipients; each: maildrop (8), uvarint length, prefix; with flagBinned: uvarint moment
//	with flagExternal: uvarint size of the body, CRC-32C of it (4)
//	with flagForeign: uvarint length, UIDL
func (m *messageView) encode(flags uint16) []byte {
	size := len(m.session) + len(m.from) + len(m.trace) + len(m.foreign) + 7*binary.MaxVarintLen64
	for _, r := range m.recipients {
		size += len(r.prefix) + 8 + 2*binary.MaxVarintLen64
	}
	b := appendBytes(appendBytes(appendBytes(make([]byte, 0, size), m.session), m.from), m.trace)
	b = binary.AppendUvarint(b, uint64(len(m.recipients)))
	for _, r := range m.recipients {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.drop))
		b = appendBytes(b, r.prefix)
		if flags&flagBinned != 0 {
			b = binary.AppendUvarint(b, uint64(r.binned))
		}
	}
	if flags&flagExternal != 0 {
		b = binary.AppendUvarint(b, uint64(m.body.size))
		b = binary.LittleEndian.AppendUint32(b, m.body.sum)
	}
	if flags&flagForeign != 0 {
		b = appendBytes(b, m.foreign)
	}
	return b
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

// messageOf returns the message's head of a record that brings one.
func messageOf(kind uint8, flags uint16, head []byte) (messageView, error) {
	return messageInto(nil, kind, flags, head)
}

// messageInto is messageOf, with the recipients in room where they fit in there.
func messageInto(room []recipientView, kind uint8, flags uint16, head []byte) (messageView, error) {
	var err error
	switch kind {
	case kindMove:
		_, _, head, err = moved(head)
	case kindRestore:
		_, head, err = replaced(head)
	}
	if err != nil {
		return messageView{}, err
	}
	return messageHeadInto(room, head, flags)
}

// changeOf reads a record's head at replay.
func changeOf(h *seglog.Header, pos seglog.Pos, head []byte) (*change, error) {
	c := &change{kind: h.Kind, flags: h.Flags, id: h.ID}
	c.placed(h, pos)
	var err error
	switch h.Kind {
	case kindMove:
		if c.seq, c.from, _, err = moved(head); err == nil {
			err = c.readMessage(h, head)
		}
	case kindRestore:
		if c.replaces, _, err = replaced(head); err == nil {
			err = c.readMessage(h, head)
		}
	case kindMessage, kindImport:
		err = c.readMessage(h, head)
	case kindBin, kindBinAgain:
		if len(head) < 8 {
			err = errHead
			break
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
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pos, err)
	}
	return c, nil
}

func (c *change) readMessage(h *seglog.Header, head []byte) error {
	m, err := messageOf(h.Kind, h.Flags, head)
	if err != nil {
		return err
	}
	c.octets = int64(len(m.trace)) + int64(h.BodyLen) + m.body.size
	for _, r := range m.recipients {
		c.recipients = append(c.recipients, entryRef{r.drop, int64(len(r.prefix)), r.binned})
	}
	c.foreign = string(m.foreign)
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
