package storesock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"example.org/letterbox/store"
)

// The frames of the pickup service. From the client: canaryFrame alone, or an open frame first, with response frames where the login is an
// exchange; then any of the others, the part frames of a deletion closed by an end frame.
const (
	openFrame     frameType = 'O' // a Login
	stepFrame     frameType = 'S' // either way: one message of an exchange; empty from the owner: the client begins
	retrieveFrame frameType = 'R' // the first index, how many messages, and how many octets may be sent at once
	creditFrame   frameType = 'C' // so many octets more may be sent
	cancelFrame   frameType = 'X' // nothing more is to be sent; the owner sends one too when it has stopped
	activeFrame   frameType = 'K' // the client of POP3 moved
	shutFrame     frameType = 'Z' // the maildrop is to be closed; answered once its lock is free
)

// From the owner, beside answers and failures: data frames hold the octets of a message, and
const (
	listFrame frameType = 'M' // messages of the snapshot, one behind the other
	lastFrame frameType = 'L' // the last octets of a message, which is whole: its checksum was compared
	lostFrame frameType = 'T' // the maildrop was taken away; may come between any two others
)

// The bounds of the pickup service.
const (
	// window is how many octets of messages the owner sends before the client has taken them, and so what a client holds
	// of messages at most.
	window = 128 << 10
	// maxAhead is how many messages one retrieve frame asks for at most.
	maxAhead = 64
	// streamBuffer is what the owner holds of messages for a session, while it sends them.
	streamBuffer = 64 << 10
	// listChunk is what a list frame holds at most, in octets.
	listChunk = 32 << 10
	// maxMessages is how many messages a maildrop has at most; the client holds about 40 octets of each.
	maxMessages = 1 << 24
	// maxForeign is the longest UIDL (RFC 1939 section 7).
	maxForeign = 70
)

// Bits of a login's flags.
const (
	loginTLS = 1 << iota
	loginExchange
	loginBinding
	loginProxied
	loginFlags = loginTLS | loginExchange | loginBinding | loginProxied
)

func loginFrame(l store.Login) []byte {
	flags := uint64(0)
	for bit, set := range map[uint64]bool{loginTLS: l.TLS, loginExchange: l.Exchange != nil, loginBinding: l.Binding != nil, loginProxied: l.Proxied} {
		if set {
			flags |= bit
		}
	}
	b := []byte{byte(openFrame), 0, 0, 0, 0}
	b = binary.AppendUvarint(b, flags)
	b = appendString(b, l.Session)
	b = appendPeer(b, l.Peer)
	b = appendString(b, l.Mechanism)
	b = appendString(b, l.Name)
	b = appendString(b, l.Secret)
	b = appendString(b, l.Binding)
	return closeFrame(b, 0, len(b)-headLength)
}

// decodeLogin returns a login without its Exchange, and whether it has one.
func decodeLogin(b []byte) (l store.Login, exchange, ok bool) {
	f := fields{b: b}
	flags := f.uint(loginFlags)
	l = store.Login{
		TLS: flags&loginTLS != 0, Proxied: flags&loginProxied != 0, Session: f.string(maxRequest), Peer: f.peer(), Mechanism: f.string(maxRequest),
		Name: f.string(maxRequest), Secret: f.string(maxRequest),
	}
	if binding := f.bytes(maxRequest); flags&loginBinding != 0 {
		l.Binding = binding
	} else if len(binding) > 0 {
		f.fail()
	}
	return l, flags&loginExchange != 0, f.end()
}

func appendMessage(b []byte, m *store.Message) []byte {
	b = append(b, m.ID[:]...)
	b = binary.AppendUvarint(b, uint64(m.Octets))
	return appendString(b, m.Foreign)
}

// decodeMessages appends the messages of a list frame to all, which holds up to limit.
func decodeMessages(all []store.Message, b []byte, limit int) (_ []store.Message, ok bool) {
	f := fields{b: b}
	for len(f.b) > 0 && len(all) < limit {
		m := store.Message{ID: f.id(), Octets: f.octets(), Foreign: f.string(maxForeign)}
		if f.bad || !isUIDL(m.Foreign) {
			return nil, false
		}
		all = append(all, m)
	}
	return all, f.end() && len(b) > 0
}

// isUIDL tells whether s may stand in a reply to UIDL, or is empty.
func isUIDL(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// retrieval is what a retrieve frame asks for.
type retrieval struct {
	first, count int
	credit       int64
}

func (r retrieval) frame() []byte {
	b := []byte{byte(retrieveFrame), 0, 0, 0, 0}
	for _, v := range []uint64{uint64(r.first), uint64(r.count), uint64(r.credit)} {
		b = binary.AppendUvarint(b, v)
	}
	return closeFrame(b, 0, len(b)-headLength)
}

// decodeRetrieval holds what is asked for against a maildrop of n messages.
func decodeRetrieval(b []byte, n int) (r retrieval, ok bool) {
	f := fields{b: b}
	r = retrieval{first: int(f.uint(maxMessages)), count: int(f.uint(maxAhead)), credit: int64(f.uint(window))}
	return r, f.end() && r.count > 0 && r.first+r.count <= n && r.credit > 0
}

func appendCredit(b []byte, n int64) []byte {
	return appendFrame(b, creditFrame, binary.AppendUvarint(nil, uint64(n)))
}

func decodeCredit(b []byte) (n int64, ok bool) {
	f := fields{b: b}
	n = int64(f.uint(window))
	return n, f.end() && n > 0
}

// encodeDeletion writes indices as their number and the distance of each from the one before. It fails where they are not
// indices of n messages, each once.
func encodeDeletion(deleted []int, n int) ([]byte, error) {
	sorted := slices.Sorted(slices.Values(deleted))
	b := binary.AppendUvarint(nil, uint64(len(sorted)))
	last := -1
	for _, i := range sorted {
		switch {
		case i < 0 || i >= n:
			return nil, fmt.Errorf("no message at index %d", i)
		case i == last:
			return nil, errTwice
		}
		b = binary.AppendUvarint(b, uint64(i-last))
		last = i
	}
	return b, nil
}

var errTwice = errors.New("a message is named twice")

// maxDeletion is the longest deletion in a maildrop of n messages, in octets.
func maxDeletion(n int) int { return (n + 1) * binary.MaxVarintLen32 }

func decodeDeletion(b []byte, n int) (deleted []int, ok bool) {
	f := fields{b: b}
	deleted = make([]int, f.uint(uint64(min(n, len(b)))))
	last := -1
	for i := range deleted {
		step := int(f.uint(uint64(n)))
		if last += step; step == 0 || last >= n {
			return nil, false
		}
		deleted[i] = last
	}
	return deleted, f.end()
}
