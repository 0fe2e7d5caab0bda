package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"sync"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
	"example.org/letterbox/store/seglog"
)

// maildrop is one locked maildrop: a POP3 session.
type maildrop struct {
	s        *Store
	drop     store.MaildropID
	messages []store.Message
	places   []place
	lost     chan struct{}

	mu     sync.Mutex
	closed bool
	gone   bool // lost is closed
	done   bool // messages were deleted: they are not counted a second time
}

// place is where a message stands, and the sequence number that names it for ever.
type place struct {
	seq uint64
	pos seglog.Pos
}

// Open implements store.Pickup.
func (s *Store) Open(ctx context.Context, l store.Login) (store.Maildrop, error) {
	drop, err := s.authenticate(ctx, l)
	if err != nil {
		return nil, err
	}
	m := &maildrop{s: s, drop: drop, lost: make(chan struct{})}
	if err := s.take(m); err != nil {
		return nil, err
	}
	if err := m.load(); err != nil {
		m.Close() //nolint:errcheck // err says more
		if isCorruptIndex(err) {
			s.condemnIndex(err)
		}
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return m, nil
}

// authenticate checks name and secret. An unknown, a disabled and a known account take the same work and time.
func (s *Store) authenticate(ctx context.Context, l store.Login) (store.MaildropID, error) {
	var acc *account
	name, err := store.ParseAddress(l.Name)
	if err == nil {
		acc = s.accounts.directory().accounts[name.String()]
	}
	hash := ""
	if acc != nil {
		hash = acc.Hash
	}
	ok, rehash, err := s.verifier.Verify(ctx, hash, l.Secret)
	switch {
	case errors.Is(err, secret.ErrBusy):
		return 0, store.ErrBusy
	case err != nil:
		return 0, err
	case !ok || acc == nil || acc.Disabled:
		return 0, store.ErrCredential
	}
	if rehash && !s.opt.keepHashes {
		s.rehash(ctx, name.String(), hash, l.Secret)
	}
	return acc.Maildrop, nil
}

// rehash replaces a hash of another kind, now that the password is at hand. The login does not depend on it.
func (s *Store) rehash(ctx context.Context, address, old, password string) {
	hash, err := s.verifier.Hash(ctx, password)
	if err == nil {
		err = s.accounts.setHash(address, old, hash)
	}
	if err != nil {
		s.opt.Log.Warn().AnErr("reason", err).Msg("a password could not be hashed anew")
	}
}

// take locks the maildrop.
func (s *Store) take(m *maildrop) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.shut:
		return store.ErrUnavailable
	case s.inUse[m.drop] != nil:
		return store.ErrInUse
	case !s.accounts.directory().mayOpen(m.drop): // since the password was checked
		return store.ErrCredential
	}
	s.inUse[m.drop] = m
	return nil
}

// load takes the snapshot. What is durable is in it, so a pending change of this maildrop is applied first.
func (m *maildrop) load() error {
	if err := m.s.indexer.settle(m.drop); err != nil {
		return err
	}
	return m.s.index.list(m.drop, func(n int64) {
		m.messages, m.places = make([]store.Message, 0, n), make([]place, 0, n)
	}, func(e *entry) {
		m.messages = append(m.messages, store.Message{ID: e.id, Foreign: e.foreign, Octets: e.octets})
		m.places = append(m.places, place{e.seq, e.pos})
	})
}

// Messages implements store.Maildrop.
func (m *maildrop) Messages() []store.Message { return m.messages }

// Active implements store.Maildrop.
func (m *maildrop) Active() {}

// Lost implements store.Maildrop.
func (m *maildrop) Lost() <-chan struct{} { return m.lost }

// lose takes the maildrop away from its session.
func (m *maildrop) lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.gone {
		m.gone = true
		close(m.lost)
	}
}

// Commit implements store.Maildrop.
func (m *maildrop) Commit(ctx context.Context, deleted []int) error {
	// An account that is removed with its mail is removed before or after.
	m.s.admission.RLock()
	defer m.s.admission.RUnlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.gone || m.done || !m.s.accounts.directory().drops[m.drop] {
		return store.ErrLost
	}
	if len(deleted) == 0 {
		return nil
	}
	seqs := make([]uint64, len(deleted))
	var freed int64
	for i, n := range deleted {
		if n < 0 || n >= len(m.places) {
			return fmt.Errorf("no message at index %d", n)
		}
		seqs[i] = m.places[n].seq
		freed += m.messages[n].Octets
	}
	slices.Sort(seqs)
	if len(slices.Compact(seqs)) != len(deleted) {
		return errors.New("a message is named twice")
	}
	if err := m.s.delete(ctx, kindDeletion, m.drop, freed, seqs); err != nil {
		return err
	}
	m.done = true
	m.s.lastDrain.Store(m.s.opt.Now().UnixNano())
	return nil
}

// deletion makes a record that deletes entries of a maildrop.
func (s *Store) deletion(kind uint8, drop store.MaildropID, freed int64, seqs []uint64) *seglog.Record {
	id := s.ids.next()
	return &seglog.Record{
		Kind: kind, ID: id, Head: deletionHead(drop, freed, seqs),
		Tag: &change{kind: kind, id: id, drop: drop, freed: freed, deleted: seqs},
	}
}

// delete makes a deletion durable.
func (s *Store) delete(ctx context.Context, kind uint8, drop store.MaildropID, freed int64, seqs []uint64) error {
	// Reclaim looks which messages are wanted and copies them in one: nothing is deleted between.
	s.moving.RLock()
	defer s.moving.RUnlock()
	err := s.append(ctx, s.deletion(kind, drop, freed, seqs))
	if errors.Is(err, store.ErrFull) && s.space.makeRoom(math.MaxInt64) {
		err = s.append(ctx, s.deletion(kind, drop, freed, seqs))
	}
	return err
}

// Close implements store.Maildrop.
func (m *maildrop) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if m.s.inUse[m.drop] == m {
		delete(m.s.inUse, m.drop)
	}
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
	rec, err := m.record(i)
	if err != nil {
		return nil, corrupt(err)
	}
	b, err := m.assemble(rec, i)
	if err != nil {
		rec.Close() //nolint:errcheck // it never fails
		return nil, corrupt(err)
	}
	return b, nil
}

// record opens the record of a message, where it was when the maildrop was opened, or where reclaim moved it since.
func (m *maildrop) record(i int) (*seglog.Reader, error) {
	rec, err := m.s.log.Read(m.places[i].pos, m.messages[i].Octets)
	if !errors.Is(err, fs.ErrNotExist) {
		return rec, err
	}
	r, ok, err := m.s.index.refs(m.messages[i].ID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &seglog.Corrupt{Pos: m.places[i].pos, ID: m.messages[i].ID, Reason: "the message is gone"}
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

// Close implements io.Closer.
func (b *message) Close() error {
	b.parts = [2][]byte{}
	return b.body.Close()
}
