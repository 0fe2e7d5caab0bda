package boltstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"example.org/letterbox/store"
)

// importMemory is how long the UIDLs of a maildrop are kept in memory behind an import, for the next.
const importMemory = time.Minute

// imports knows the foreign UIDLs of one maildrop, so that an import of many messages lists it once: some 120 octets for each
// message that waits there. One that was deleted since may be among them.
type imports struct {
	mu   sync.Mutex
	drop store.MaildropID
	have map[string]store.ID
	used time.Time
}

// forget gives back what an import keeps for the next, when none came for a while.
func (im *imports) forget(now time.Time) {
	if !im.mu.TryLock() {
		return // one is under way
	}
	defer im.mu.Unlock()
	if im.have != nil && im.stale(now) {
		im.drop, im.have = 0, nil
	}
}

// stale tells whether what is known is too old to be used; also where the clock went back. The lock is held.
func (im *imports) stale(now time.Time) bool {
	return now.Sub(im.used) > importMemory || now.Before(im.used)
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
		if err := s.unused(ctx, acc, uidl, body); err != nil {
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
		s.imports.have[uidl] = d.id
	}
	return d.id, nil
}

// unused fails where a UIDL was given in a maildrop, now or before. It reads body then, to say whether that is the same
// message.
func (s *Store) unused(ctx context.Context, acc *account, uidl string, body io.Reader) error {
	e, waits, err := s.holder(acc.Maildrop, uidl)
	if err != nil {
		return err
	}
	was := imported{octets: e.octets}
	if !waits {
		var ok bool
		if was, ok, err = s.accounts.imported(acc.Maildrop, uidl); err != nil || !ok {
			return err
		}
	}
	sum, all := crc32.New(castagnoli()), sha256.New()
	octets, err := io.Copy(io.MultiWriter(sum, all), body)
	if err != nil {
		return err
	}
	same := octets == was.octets
	switch {
	case same && waits:
		have := sha256.New()
		err = s.copyEntry(ctx, acc.Maildrop, &e, have)
		same = err == nil && string(have.Sum(nil)) == string(all.Sum(nil))
		if errors.Is(err, store.ErrCorrupt) { // then what came is worth more
			err = nil
		}
	case same:
		same = sum.Sum32() == was.sum
	}
	switch {
	case err != nil:
		return err
	case same:
		return refuse(store.CodeExists, "%s has this message under the UIDL %s already, or had it", acc.address, uidl)
	default:
		return refuse(store.CodeTaken, "another message of %s has the UIDL %s, or had it", acc.address, uidl)
	}
}

// holder returns the message that waits in a maildrop under a UIDL.
func (s *Store) holder(drop store.MaildropID, uidl string) (e entry, ok bool, err error) {
	if err := s.listForeign(drop); err != nil {
		return e, false, err
	}
	if id, known := s.imports.have[uidl]; known {
		if e, ok, err = s.find(drop, id); err != nil || ok {
			return e, ok, err
		}
		delete(s.imports.have, uidl)
	}
	id, err := store.ParseID(uidl)
	if err != nil || id.String() != uidl {
		return e, false, nil
	}
	e, ok, err = s.find(drop, id) // one of our own
	return e, ok && e.foreign == "", err
}

// listForeign lists the foreign UIDLs of a maildrop, unless they are known from before.
func (s *Store) listForeign(drop store.MaildropID) error {
	im, now := &s.imports, s.opt.Now()
	if im.drop != drop || im.have == nil || im.stale(now) {
		if err := s.indexer.settle(drop); err != nil {
			return err
		}
		have := map[string]store.ID{}
		err := s.index.list(drop, func(int64) {}, func(e *entry) {
			if e.foreign != "" {
				have[e.foreign] = e.id
			}
		})
		if err != nil {
			return err
		}
		im.drop, im.have = drop, have
	}
	im.used = now
	return nil
}
