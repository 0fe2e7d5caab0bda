package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// maildrop is one locked maildrop: a POP3 session.
type maildrop struct {
	s        *Store
	drop     store.MaildropID
	by       credential // that opened it
	messages []store.Message
	places   []place
	lost     chan struct{}

	committing sync.Mutex // one Commit at a time

	mu     sync.Mutex
	closed bool
	gone   bool // lost is closed
	done   bool // messages were deleted: they are not counted a second time
	moved  time.Time
	busy   int           // messages that are being read
	commit chan struct{} // a Commit is under way, until it is closed; nil without
}

// place is where a message stands, and the sequence number that names it for ever. It is packed, since a maildrop that is
// open holds one for each message: 32 bits reach over segments of 4 GiB, and so many of them.
type place struct {
	seq             uint64
	segment, offset uint32
}

func placeOf(e *entry) (place, error) {
	p := place{e.seq, uint32(e.pos.Segment), uint32(e.pos.Offset)}
	if p.pos() != e.pos {
		return p, fmt.Errorf("%w: segment %d has no offset %d", errIndex, e.pos.Segment, e.pos.Offset)
	}
	return p, nil
}

func (p place) pos() seglog.Pos {
	return seglog.Pos{Segment: uint64(p.segment), Offset: int64(p.offset)}
}

func newMaildrop(s *Store, drop store.MaildropID, by credential) *maildrop {
	return &maildrop{s: s, drop: drop, by: by, lost: make(chan struct{}), moved: s.opt.Now()}
}

// Open implements store.Pickup.
func (s *Store) Open(ctx context.Context, l store.Login) (store.Maildrop, error) {
	who, err := s.authenticate(ctx, l)
	if err != nil {
		return nil, err
	}
	if s.logins.tooSoon(who.drop, s.policy.Load().LoginDelay) {
		return nil, store.ErrLoginDelay
	}
	m := newMaildrop(s, who.drop, who.by)
	if err := s.take(ctx, m); err != nil {
		return nil, err
	}
	if err := m.load(); err != nil {
		m.Close() //nolint:errcheck // err says more
		if isCorruptIndex(err) {
			s.condemnIndex(err)
		}
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	s.logins.succeeded(who, l.Peer)
	return m, nil
}

// load takes the snapshot. What is durable is in it, so a pending change of this maildrop is applied first.
func (m *maildrop) load() error {
	if err := m.s.indexer.settle(m.drop); err != nil {
		return err
	}
	var wrong error
	err := m.s.index.list(m.drop, func(n int64) {
		m.messages, m.places = make([]store.Message, 0, n), make([]place, 0, n)
	}, func(e *entry) {
		p, err := placeOf(e)
		if err != nil {
			wrong = err
		}
		m.messages = append(m.messages, store.Message{ID: e.id, Foreign: e.foreign, Octets: e.octets})
		m.places = append(m.places, p)
	})
	m.s.readers.saw(m.drop, m.places)
	return errors.Join(err, wrong)
}

// Messages implements store.Maildrop.
func (m *maildrop) Messages() []store.Message { return m.messages }

// Commit implements store.Maildrop. What it has begun it ends: a login that would take over waits.
func (m *maildrop) Commit(ctx context.Context, deleted []int) error {
	// An account that is removed with its mail is removed before or after.
	m.s.admission.RLock()
	defer m.s.admission.RUnlock()
	m.committing.Lock()
	defer m.committing.Unlock()
	end, err := m.beginCommit()
	if err != nil {
		return err
	}
	err = m.erase(ctx, deleted)
	end(err == nil && len(deleted) > 0)
	return err
}

// erase makes the deletion of these messages durable.
func (m *maildrop) erase(ctx context.Context, deleted []int) error {
	if len(deleted) == 0 {
		return nil
	}
	seqs := make([]uint64, len(deleted))
	var foreign []uint64
	var freed int64
	for i, n := range deleted {
		if n < 0 || n >= len(m.places) {
			return fmt.Errorf("no message at index %d", n)
		}
		seqs[i] = m.places[n].seq
		freed += m.messages[n].Octets
		if m.messages[n].Foreign != "" {
			foreign = append(foreign, seqs[i])
		}
	}
	slices.Sort(seqs)
	if len(slices.Compact(seqs)) != len(deleted) {
		return errors.New("a message is named twice")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.s.rememberAt(m.drop, foreign)
	if err := m.s.discard(ctx, m.drop, freed, seqs); err != nil {
		return err
	}
	m.s.lastDrain.Store(m.s.opt.Now().UnixNano())
	m.drained(deleted, seqs)
	return nil
}

// Retrieve implements store.Maildrop. The whole body is checked before the first octet is returned.
func (m *maildrop) Retrieve(ctx context.Context, i int) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i < 0 || i >= len(m.places) {
		return nil, fmt.Errorf("no message at index %d", i)
	}
	if err := m.beginRead(); err != nil {
		return nil, err
	}
	rec, err := m.record(i)
	if err != nil {
		m.endRead()
		return nil, corrupt(err)
	}
	b, err := m.assemble(rec, i)
	if err != nil {
		m.endRead()
		rec.Close() //nolint:errcheck // it never fails
		return nil, corrupt(err)
	}
	b.closed = func() {
		if b.whole() {
			m.retrieved(i)
		}
		m.endRead()
	}
	return b, nil
}

// record opens the record of a message, where it was when the maildrop was opened, or where reclaim moved it since.
func (m *maildrop) record(i int) (*seglog.Reader, error) {
	rec, err := m.s.log.Read(m.places[i].pos(), m.messages[i].Octets)
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
	if rec.ID != m.messages[i].ID || !brings(rec.Kind) {
		return nil, wrong("the index names another message")
	}
	head, err := messageOf(rec.Kind, rec.Flags, rec.Head)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(head.recipients, func(r recipientView) bool { return r.drop == m.drop })
	if at < 0 {
		return nil, wrong("the message is not for this maildrop")
	}
	b := &message{body: rec, size: int64(rec.BodyLen), parts: [2][]byte{head.recipients[at].prefix, head.trace}}
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
	size  int64 // of the body
	at    int64 // octets of the body that were read

	closed func() // nil once it was called
}

// Read implements io.Reader.
func (b *message) Read(p []byte) (n int, err error) {
	for i := range b.parts {
		k := copy(p[n:], b.parts[i])
		b.parts[i] = b.parts[i][k:]
		n += k
	}
	if n == len(p) {
		return n, nil
	}
	if b.at == b.size {
		if n > 0 {
			return n, nil
		}
		return 0, io.EOF
	}
	k, err := b.body.ReadAt(p[n:min(int64(len(p)), int64(n)+b.size-b.at)], b.at)
	b.at += int64(k)
	if errors.Is(err, io.EOF) {
		err = nil
		if k == 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n + k, err
}

// whole tells whether all was read.
func (b *message) whole() bool { return b.at == b.size && len(b.parts[0])+len(b.parts[1]) == 0 }

// Close implements io.Closer.
func (b *message) Close() error {
	if b.closed == nil {
		return nil
	}
	b.closed()
	b.closed = nil
	b.parts = [2][]byte{}
	return b.body.Close()
}
