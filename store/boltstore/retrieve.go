package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// Retrieve implements store.Maildrop. The whole body is checked before the first octet is returned.
func (m *maildrop) Retrieve(ctx context.Context, i int) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i < 0 || i >= len(m.places) {
		return nil, fmt.Errorf("no message at index %d", i)
	}
	fresh, err := m.beginRead(i)
	if err != nil {
		return nil, err
	}
	rec, err := m.record(i, fresh)
	if err != nil {
		m.endRead(m.s.opt.Now())
		return nil, corrupt(err)
	}
	b, err := m.assemble(rec, i)
	if err != nil {
		m.endRead(m.s.opt.Now())
		rec.Close() //nolint:errcheck // it never fails
		return nil, corrupt(err)
	}
	b.of, b.index = m, i
	return b, nil
}

// recordSlack is about what a record is longer than the message that it holds.
const recordSlack = 1 << 10

// run returns the index behind the last of those messages that are read in one piece with the one at index i: their records stand behind
// each other, with their bodies, and at least half of the piece is theirs. size is about how long it is, 0 where not even the first
// fits.
func (m *maildrop) run(i int) (end int, size int64) {
	first := m.places[i]
	octets := int64(0)
	end = i
	for j := i; j < min(len(m.places), i+seglog.MaxAheadRecords); j++ {
		at, own := m.places[j], m.messages[j].Octets
		length := int64(at.offset) - int64(first.offset) + own + recordSlack
		if at.segment != first.segment || j > i && at.offset <= m.places[j-1].offset || length > seglog.MaxAhead {
			break
		}
		if j+1 < len(m.places) {
			if next := m.places[j+1]; next.segment == at.segment && next.offset > at.offset && int64(next.offset-at.offset) < own {
				break // its body is a file
			}
		}
		if octets += own; j == i || octets >= length/2 {
			end, size = j+1, length
		}
	}
	return end, size
}

// readAhead reads the messages from index i on ahead, as many as are read in one piece, unless they are fewer than least.
func (m *maildrop) readAhead(i, least int) {
	end, size := m.run(i)
	if end-i < least {
		return
	}
	var room [seglog.MaxAheadRecords]seglog.Pos
	at := room[:0]
	for _, p := range m.places[i:end] {
		at = append(at, p.pos())
	}
	m.ahead.Prepare(at, size)
	m.mu.Lock()
	m.reached = end
	m.mu.Unlock()
}

// Idle implements store.Idler: what a client asks for next that takes one message after the other is read while it looks at what it
// has.
func (m *maildrop) Idle() {
	m.mu.Lock()
	next := m.likely
	due := !m.closed && !m.gone && m.busy == 0 && next < len(m.places) && next != m.tried
	m.mu.Unlock()
	if !due || !m.ahead.Low(m.places[next].pos()) {
		return
	}
	m.readAhead(next, 1)
	m.mu.Lock()
	m.tried = next
	m.mu.Unlock()
}

// record opens the record of a message, where it was when the maildrop was opened, or where reclaim moved it since. With fresh those
// behind it may be read ahead.
func (m *maildrop) record(i int, fresh bool) (*seglog.Reader, error) {
	pos := m.places[i].pos()
	rec := m.ahead.Take(pos)
	if rec == nil && fresh {
		m.readAhead(i, 2)
		rec = m.ahead.Take(pos)
	}
	if rec != nil {
		return rec, nil
	}
	rec, err := m.s.log.Read(pos, m.messages[i].Octets)
	if !errors.Is(err, fs.ErrNotExist) {
		return rec, err
	}
	r, ok, err := m.s.index.refs(m.messages[i].ID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &seglog.Corrupt{Pos: m.places[i].pos(), ID: m.messages[i].ID, Reason: "the message is gone"}
	}
	return m.s.log.Read(r.pos, m.messages[i].Octets)
}

func corrupt(err error) error {
	var c *seglog.Corrupt
	if errors.As(err, &c) || errors.Is(err, errHead) {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

func (m *maildrop) assemble(rec *seglog.Reader, i int) (*message, error) {
	wrong := func(reason string) error { return &seglog.Corrupt{Pos: rec.Pos, ID: rec.ID, Reason: reason} }
	b := &message{body: rec, size: int64(rec.BodyLen)}
	if rec.ID != m.messages[i].ID || !brings(rec.Kind) {
		return nil, wrong("the index names another message")
	}
	head, err := messageInto(b.room[:], rec.Kind, rec.Flags, rec.Head)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(head.recipients, func(r recipientView) bool { return r.drop == m.drop })
	if at < 0 {
		return nil, wrong("the message is not for this maildrop")
	}
	b.parts = [2][]byte{head.recipients[at].prefix, head.trace}
	if rec.Flags&flagExternal != 0 {
		b.size = head.body.size
	}
	if int64(len(b.parts[0])+len(b.parts[1]))+b.size != m.messages[i].Octets {
		return nil, wrong("the message has another size than the index says")
	}
	if rec.Flags&flagExternal != 0 {
		b.body, err = m.s.bodies.open(rec, head.body, &m.s.memory.next)
	} else {
		err = rec.Check()
	}
	return b, err
}

// message reads one message: the recipient's own lines, the trace, the body.
type message struct {
	parts [2][]byte // point into the record's head
	body  bodyReader
	size  int64            // of the body
	at    int64            // octets of the body that were read
	room  [1]recipientView // most mail has no more

	of    *maildrop // nil for the canary's, which nobody counts
	index int       // there
}

// Read implements io.Reader. io.EOF comes with the last octets.
func (b *message) Read(p []byte) (n int, err error) {
	if b.body == nil {
		return 0, fs.ErrClosed
	}
	for i := range b.parts {
		k := copy(p[n:], b.parts[i])
		b.parts[i] = b.parts[i][k:]
		n += k
	}
	if n < len(p) && b.at < b.size {
		var k int
		k, err = b.body.ReadAt(p[n:min(int64(len(p)), int64(n)+b.size-b.at)], b.at)
		b.at += int64(k)
		n += k
		if errors.Is(err, io.EOF) {
			err = nil
			if k == 0 {
				err = io.ErrUnexpectedEOF
			}
		}
	}
	if err == nil && b.whole() {
		err = io.EOF
	}
	return n, err
}

// Lend implements store.Lender.
func (b *message) Lend() (head, body []byte, ok bool) {
	rec, ok := b.body.(*seglog.Reader)
	if !ok {
		return nil, nil, false
	}
	if body, ok = rec.Body(); !ok {
		return nil, nil, false
	}
	head, body = slices.Concat(b.parts[0], b.parts[1]), body[b.at:]
	b.parts, b.at = [2][]byte{}, b.size
	return head, body, true
}

// whole tells whether all was read.
func (b *message) whole() bool { return b.at == b.size && len(b.parts[0])+len(b.parts[1]) == 0 }

// Close implements io.Closer.
func (b *message) Close() error {
	if b.body == nil {
		return nil
	}
	if b.of != nil {
		now := b.of.s.opt.Now()
		if b.whole() {
			b.of.retrieved(b.index, now)
		}
		b.of.endRead(now)
	}
	body := b.body
	b.parts, b.body = [2][]byte{}, nil
	return body.Close()
}
