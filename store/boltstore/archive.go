package boltstore

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

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
	at, err := placeOf(&e)
	if err != nil {
		return err
	}
	m := newMaildrop(s, acc.Maildrop, credential{})
	m.messages, m.places = []store.Message{{ID: id, Octets: e.octets}}, []place{at}
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

// importMemory is how long the UIDLs of a maildrop are kept in memory behind an import, for the next.
const importMemory = time.Minute

// imports knows the foreign UIDLs of one maildrop, so that an import of many messages lists it once: some 100 octets for each
// message that waits there.
type imports struct {
	mu   sync.Mutex
	drop store.MaildropID
	have map[string]bool
	used time.Time
}

// Import implements store.Admin.
func (s *Store) Import(ctx context.Context, address, uidl string, body io.Reader) (store.ID, error) {
	var none store.ID
	acc := s.accounts.directory().accounts[address]
	switch {
	case acc == nil:
		return none, refuse(store.CodeMissing, "%s is no account: see letterbox user list", address)
	case uidl != "" && !store.IsUIDL(uidl):
		return none, refuse(store.CodeInvalid, "%.80q can't be a UIDL: it has 1 to 70 octets of 0x21 to 0x7E", uidl)
	}
	s.imports.mu.Lock() // one at a time: two with the same UIDL must not pass
	defer s.imports.mu.Unlock()
	if uidl != "" {
		have, err := s.hasUIDL(acc.Maildrop, uidl)
		if err == nil && have {
			err = refuse(store.CodeExists, "%s has a message with the UIDL %s already", address, uidl)
		}
		if err != nil {
			return none, err
		}
	}
	begun, err := s.Begin(ctx, store.Envelope{})
	if err != nil {
		return none, err
	}
	defer begun.Discard()
	d := begun.(*draft)
	d.kind, d.foreign = kindImport, uidl
	if _, err := io.Copy(struct{ io.Writer }{d}, body); err != nil {
		return none, err
	}
	if err := d.Commit(ctx, store.Final{Recipients: []store.Recipient{{Maildrop: acc.Maildrop}}}); err != nil {
		return none, err
	}
	if uidl != "" {
		s.imports.have[uidl] = true
	}
	return d.id, nil
}

// hasUIDL tells whether a message of a maildrop, or of its bin, has a UIDL.
func (s *Store) hasUIDL(drop store.MaildropID, uidl string) (bool, error) {
	now := s.opt.Now()
	if im := &s.imports; im.drop != drop || im.have == nil || now.Sub(im.used) > importMemory || now.Before(im.used) {
		if err := s.indexer.settle(drop); err != nil {
			return false, err
		}
		have := map[string]bool{}
		note := func(e *entry) {
			if e.foreign != "" {
				have[e.foreign] = true
			}
		}
		if err := s.index.list(drop, func(int64) {}, note); err != nil {
			return false, err
		}
		if err := s.index.listBin(drop, note); err != nil {
			return false, err
		}
		im.drop, im.have = drop, have
	}
	s.imports.used = now
	if s.imports.have[uidl] {
		return true, nil
	}
	id, err := store.ParseID(uidl)
	if err != nil || id.String() != uidl {
		return false, nil
	}
	_, ok, err := s.find(drop, id) // one of our own
	return ok, err
}
