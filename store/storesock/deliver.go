package storesock

import (
	"encoding/binary"
	"fmt"
	"math"

	"example.org/letterbox/store"
)

// The frames of the deliver service. From the client, while no draft is open:
const (
	resolveFrame frameType = 'R' // an Attempt
	beginFrame   frameType = 'B' // an Envelope
	askFrame     frameType = 'Q' // the id of a draft whose outcome got lost
	noteFrame    frameType = 'W' // what was refused, for the history
	// and canaryFrame
)

// From the client, while a draft is open: data frames, then part frames that hold a Final, then the end frame; or
const (
	dataFrame    frameType = 'D' // the next octets of a body, at least one
	discardFrame frameType = 'X' // the draft is to be forgotten; not answered
)

// From the owner.
const (
	answerFrame  frameType = 'A' // what was asked for
	failureFrame frameType = 'F' // the code of an error, and nothing else
	refusalFrame frameType = 'N' // the same of a draft that takes no more octets; the connection ends with it
)

// The bounds of the deliver service, in octets.
const (
	// maxRequest is the longest Attempt or Envelope, and the longest frame of a pickup's client.
	maxRequest = 16 << 10
	// bodyChunk is how much of a body either side holds before it passes it on, for each draft.
	bodyChunk = 32 << 10
	// maxFinal is the longest Final as it is sent.
	maxFinal = store.MaxTrace + store.MaxRecipients*(store.MaxPrefix+2*binary.MaxVarintLen64) + 2*binary.MaxVarintLen64 + maxOrigin
	// maxOrigin is the longest Origin in it.
	maxOrigin = maxZone + store.MaxMessageID + store.MaxRecipients*(store.MaxPath+binary.MaxVarintLen64) + 3*binary.MaxVarintLen64
	// freeFinal is how much of a Final the owner holds for any draft, and finalMemory how much beyond it for all drafts
	// together; where that is spent, the connection is broken off.
	freeFinal   = 64 << 10
	finalMemory = 64 << 20
	// maxTargets bounds the maildrops of one forward-path.
	maxTargets = (maxFrame - 1 - len(store.ID{})) / (binary.MaxVarintLen64 + 1)
	// maxCode is the longest code of an error.
	maxCode = 64
)

func attemptFrame(a store.Attempt) []byte {
	b := []byte{byte(resolveFrame), 0, 0, 0, 0}
	b = appendString(b, a.Session)
	b = appendPeer(b, a.Peer)
	b = appendString(b, a.From)
	b = appendString(b, a.To)
	b = binary.AppendUvarint(b, uint64(max(a.Size, 0)))
	return closeFrame(b, 0, len(b)-headLength)
}

func decodeAttempt(b []byte) (a store.Attempt, ok bool) {
	f := fields{b: b}
	a = store.Attempt{
		Session: f.string(maxRequest), Peer: f.peer(), From: f.string(maxRequest), To: f.string(maxRequest), Size: f.octets(),
	}
	return a, f.end()
}

// envelopeOf is the Envelope with which the transaction of a begins its message.
func envelopeOf(a store.Attempt) store.Envelope {
	return store.Envelope{Session: a.Session, From: a.From, Declared: max(a.Size, 0)}
}

// targetFrame holds the maildrops, then the number of drafts that are prepared, 0 or 1, and its id.
func targetFrame(t store.Target, prepared ...store.ID) []byte {
	b := make([]byte, headLength, 64)
	b[0] = byte(answerFrame)
	b = binary.AppendUvarint(b, uint64(len(t.Maildrops)))
	for _, m := range t.Maildrops {
		b = binary.AppendUvarint(b, uint64(m))
	}
	b = binary.AppendUvarint(b, uint64(len(prepared)))
	for _, id := range prepared {
		b = append(b, id[:]...)
	}
	return closeFrame(b, 0, len(b)-headLength)
}

// decodeTarget returns the id of the draft that is prepared, or none.
func decodeTarget(b []byte) (t store.Target, prepared *store.ID, ok bool) {
	f := fields{b: b}
	n := f.uint(uint64(min(maxTargets, len(b)))) // each takes an octet at least
	if n > 0 {
		t.Maildrops = make([]store.MaildropID, n)
	}
	for i := range t.Maildrops {
		t.Maildrops[i] = store.MaildropID(f.uint(math.MaxUint64))
	}
	if f.uint(1) == 1 {
		id := f.id()
		prepared = &id
	}
	return t, prepared, f.end()
}

func envelopeFrame(e store.Envelope) []byte {
	b := []byte{byte(beginFrame), 0, 0, 0, 0}
	b = appendString(b, e.Session)
	b = appendString(b, e.From)
	b = binary.AppendUvarint(b, uint64(max(e.Declared, 0)))
	return closeFrame(b, 0, len(b)-headLength)
}

func decodeEnvelope(b []byte) (e store.Envelope, ok bool) {
	f := fields{b: b}
	e = store.Envelope{Session: f.string(maxRequest), From: f.string(maxRequest), Declared: f.octets()}
	return e, f.end()
}

func decodeID(b []byte) (id store.ID, ok bool) {
	f := fields{b: b}
	id = f.id()
	return id, f.end()
}

// checkFinal holds the bounds of the package store, on the client's side with a sentence.
func checkFinal(f store.Final) error {
	switch {
	case len(f.Recipients) == 0 || len(f.Recipients) > store.MaxRecipients:
		return fmt.Errorf("a message has 1 to %d recipients, not %d", store.MaxRecipients, len(f.Recipients))
	case len(f.Trace) > store.MaxTrace:
		return fmt.Errorf("trace has %d octets, %d are allowed", len(f.Trace), store.MaxTrace)
	}
	for _, r := range f.Recipients {
		if len(r.Prefix) > store.MaxPrefix {
			return fmt.Errorf("prefix has %d octets, %d are allowed", len(r.Prefix), store.MaxPrefix)
		}
	}
	return nil
}

func encodeFinal(f store.Final) []byte {
	size := len(f.Trace) + 2*binary.MaxVarintLen64
	for _, r := range f.Recipients {
		size += len(r.Prefix) + 2*binary.MaxVarintLen64
	}
	for _, path := range f.Origin.Paths {
		size += len(path) + binary.MaxVarintLen64
	}
	size += maxZone + len(f.Origin.MessageID)
	b := appendString(make([]byte, 0, size), f.Trace)
	b = binary.AppendUvarint(b, uint64(len(f.Recipients)))
	for _, r := range f.Recipients {
		b = binary.AppendUvarint(b, uint64(r.Maildrop))
		b = appendString(b, r.Prefix)
	}
	return appendOrigin(b, &f.Origin)
}

// appendOrigin appends an Origin within its bounds.
func appendOrigin(b []byte, o *store.Origin) []byte {
	b = appendPeer(b, o.Peer)
	b = appendCut(b, o.MessageID, store.MaxMessageID)
	return appendPaths(b, o.Paths, store.MaxRecipients)
}

// appendCut appends the first octets of a string that are at most so many.
func appendCut(b []byte, s string, most int) []byte { return appendString(b, s[:min(len(s), most)]) }

// appendPaths appends the first of a list of paths that are at most so many.
func appendPaths(b []byte, paths []string, most int) []byte {
	paths = paths[:min(len(paths), most)]
	b = binary.AppendUvarint(b, uint64(len(paths)))
	for _, path := range paths {
		b = appendCut(b, path, store.MaxPath)
	}
	return b
}

func (f *fields) paths() []string {
	n := f.uint(uint64(min(store.MaxRecipients, len(f.b)))) // each takes an octet at least
	if n == 0 {
		return nil
	}
	paths := make([]string, n)
	for i := range paths {
		paths[i] = f.string(store.MaxPath)
	}
	return paths
}

// decodeFinal returns a Final that points into b.
func decodeFinal(b []byte) (final store.Final, ok bool) {
	f := fields{b: b}
	final.Trace = f.bytes(store.MaxTrace)
	n := f.uint(store.MaxRecipients)
	if n == 0 {
		return store.Final{}, false
	}
	final.Recipients = make([]store.Recipient, n)
	for i := range final.Recipients {
		final.Recipients[i] = store.Recipient{Maildrop: store.MaildropID(f.uint(math.MaxUint64)), Prefix: f.bytes(store.MaxPrefix)}
	}
	final.Origin = store.Origin{Peer: f.peer(), MessageID: f.string(store.MaxMessageID), Paths: f.paths()}
	return final, f.end()
}
