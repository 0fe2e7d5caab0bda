package boltstore

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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
	session  string     // of POP3, like the next
	peer     netip.Addr
	account  string // whose it is
	messages []store.Message
	places   []place
	lost     chan struct{}
	ahead    *seglog.Ahead

	committing sync.Mutex // one Commit at a time

	mu     sync.Mutex
	closed bool
	gone   bool // lost is closed
	done   bool // messages were deleted: they are not counted a second time
	moved  time.Time
	commit chan struct{} // a Commit is under way, until it is closed; nil without
	busy   int           // messages that are being read
	read   []uint64      // a bit for each message that was read; nil before the first
	// likely is the index that is asked for next by a client that takes one after the other, 0 at first; what stands in front of reached
	// was read ahead already or was jumped to; tried is for which one that was done last while the session waited.
	likely, reached, tried int
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
	return &maildrop{s: s, drop: drop, by: by, lost: make(chan struct{}), ahead: s.log.Ahead(), moved: s.opt.Now()}
}

// Open implements store.Pickup.
func (s *Store) Open(ctx context.Context, l store.Login) (store.Maildrop, error) {
	if s.canary.admits(l) {
		return s.openCanary()
	}
	who, err := s.authenticate(ctx, l)
	if err != nil {
		return nil, err
	}
	if s.logins.tooSoon(who.drop, s.policy.Load().LoginDelay) {
		return nil, store.ErrLoginDelay
	}
	m := newMaildrop(s, who.drop, who.by)
	m.session, m.peer, m.account = l.Session, l.Peer, s.accounts.directory().name(who.drop)
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
	s.readers.saw(m.drop, m.places)
	s.logins.succeeded(who, l)
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
	m.noteDrained(deleted)
	return nil
}
