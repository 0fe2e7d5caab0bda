package boltstore

import (
	"context"
	"fmt"
	"io"

	"example.org/letterbox/store"
)

// browse returns a snapshot of an account's maildrop that locks nothing.
func (s *Store) browse(address string) (*maildrop, error) {
	acc := s.accounts.directory().accounts[address]
	if acc == nil {
		return nil, refuse(store.CodeMissing, "%s is no account: see letterbox user list", address)
	}
	m := newMaildrop(s, acc.Maildrop, credential{})
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return m, nil
}

// Mail implements store.Admin.
func (s *Store) Mail(ctx context.Context, address string) ([]store.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err := s.browse(address)
	if err != nil {
		return nil, err
	}
	return m.messages, nil
}

// Copy implements store.Admin.
func (s *Store) Copy(ctx context.Context, address string, id store.ID, w io.Writer) error {
	acc := s.accounts.directory().accounts[address]
	if acc == nil {
		return refuse(store.CodeMissing, "%s is no account: see letterbox user list", address)
	}
	e, ok, err := s.find(acc.Maildrop, id)
	if err == nil && !ok {
		err = refuse(store.CodeMissing, "message %s does not wait for %s any more", id, address)
	}
	if err != nil {
		return err
	}
	return s.copyEntry(ctx, acc.Maildrop, &e, w)
}

// copyEntry writes one message of a maildrop to w.
func (s *Store) copyEntry(ctx context.Context, drop store.MaildropID, e *entry, w io.Writer) error {
	at, err := placeOf(e)
	if err != nil {
		return err
	}
	m := newMaildrop(s, drop, credential{})
	m.messages, m.places = []store.Message{{ID: e.id, Octets: e.octets}}, []place{at}
	r, err := m.Retrieve(ctx, 0)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was read only
	_, err = io.Copy(w, r)
	return err
}

// find returns a maildrop's entry of a message that waits.
func (s *Store) find(drop store.MaildropID, id store.ID) (e entry, ok bool, err error) {
	if err := s.indexer.settle(drop); err != nil {
		return e, false, err
	}
	return s.index.waits(drop, id)
}
