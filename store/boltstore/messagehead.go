package boltstore

import (
	"encoding/binary"

	"example.org/letterbox/store"
)

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
