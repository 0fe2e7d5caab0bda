package boltstore

import (
	"context"
	"fmt"
	"time"

	"example.org/letterbox/store"
)

// take locks the maildrop. It takes over from a session whose client has not moved for long, and waits for a commit that
// has begun.
func (s *Store) take(ctx context.Context, m *maildrop) error {
	for {
		wait, err := s.tryTake(m)
		if wait == nil {
			return err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryTake is take, but returns what is to be waited for.
func (s *Store) tryTake(m *maildrop) (wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return nil, store.ErrUnavailable
	}
	// What was true when the password was checked may be so no more.
	switch acc := s.accounts.directory().byDrop[m.drop]; {
	case acc == nil || acc.Disabled:
		return nil, store.ErrCredential
	case !acc.has(m.by):
		return nil, fmt.Errorf("%w: the account's password was changed in this moment", store.ErrUnavailable)
	}
	if holder := s.inUse[m.drop]; holder != nil {
		if wait, free := holder.yield(s.opt.Now(), s.policy.Load().TakeoverAfter); wait != nil || !free {
			return wait, store.ErrInUse
		}
	}
	s.inUse[m.drop] = m
	return nil, nil
}

// hold locks a maildrop for the store's own work; a login waits for its end. It fails while a session has the maildrop.
func (s *Store) hold(drop store.MaildropID) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut || s.inUse[drop] != nil {
		return nil, false
	}
	m := newMaildrop(s, drop, credential{})
	m.commit = make(chan struct{})
	s.inUse[drop] = m
	return func() {
		m.mu.Lock()
		close(m.commit)
		m.commit = nil
		m.mu.Unlock()
		m.Close() //nolint:errcheck // it never fails
	}, true
}

// yield gives the lock up when the session has ended, was lost, or its client has not moved for so long; 0 is for ever. While
// a commit is under way it returns a channel that is closed at its end.
func (m *maildrop) yield(now time.Time, silent time.Duration) (wait <-chan struct{}, free bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.commit != nil:
		return m.commit, false
	case m.closed || m.gone:
		return nil, true
	case m.done: // the session only has to say so to its client
		m.closed = true
		return nil, true
	case silent == 0 || m.busy > 0 || now.Sub(m.moved) < silent:
		return nil, false
	}
	m.gone = true
	close(m.lost)
	m.s.takeovers.Add(1)
	return nil, true
}

// Active implements store.Maildrop.
func (m *maildrop) Active() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved = m.s.opt.Now()
}

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

// beginRead notes that the message at index i is being read: its client moves, however slowly. It tells whether the client takes one
// message after the other and has come to one that was never read ahead.
func (m *maildrop) beginRead(i int) (fresh bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.gone {
		return false, store.ErrLost
	}
	m.busy++
	if i != m.likely {
		m.reached = i + 1
	}
	fresh = i >= m.reached
	m.likely = i + 1
	return fresh, nil
}

// endRead ends what beginRead began.
func (m *maildrop) endRead(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy--
	m.moved = now
}

// beginCommit keeps the lock until end is called, with whether messages were deleted.
func (m *maildrop) beginCommit() (end func(deleted bool), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.gone || m.done || m.s.accounts.directory().byDrop[m.drop] == nil {
		return nil, store.ErrLost
	}
	m.commit = make(chan struct{})
	return func(deleted bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.done, m.moved = deleted, m.s.opt.Now()
		close(m.commit)
		m.commit = nil
	}, nil
}

// Close implements store.Maildrop.
func (m *maildrop) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.ahead.Release()
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if m.s.inUse[m.drop] == m {
		delete(m.s.inUse, m.drop)
	}
	return nil
}

// expel ends the sessions of accounts that are gone or disabled, and of those whose password is another one now. No commit
// is under way.
func (s *Store) expel(dir *directory) {
	s.mu.Lock()
	var out []*maildrop
	for drop, m := range s.inUse {
		if acc := dir.byDrop[drop]; acc == nil || acc.Disabled || !acc.has(m.by) {
			out = append(out, m)
		}
	}
	s.mu.Unlock()
	for _, m := range out {
		m.lose()
	}
}
