package boltstore

import (
	"bytes"
	"encoding/binary"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// bucketImported remembers mail that was imported under a UIDL and does not wait any more, so that no later import brings back
// what its reader has deleted, and no UIDL is used twice. What waits knows that itself. It grows by some 60 octets for each
// such message, is in each backup, and goes with the account.
var bucketImported = []byte("imported")

// imported is what is remembered of such a message.
type imported struct {
	octets int64
	sum    uint32 // CRC-32C of these
}

func importedKey(drop store.MaildropID, uidl string) []byte {
	return append(dropKey(drop), uidl...)
}

func (i imported) encode() []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(i.octets)), i.sum)
}

func (i *imported) decode(b []byte) bool {
	if len(b) != 12 {
		return false
	}
	i.octets, i.sum = int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])
	return true
}

// imported returns what is remembered of the message that had a UIDL.
func (a *accounts) imported(drop store.MaildropID, uidl string) (i imported, ok bool, err error) {
	err = a.db.View(func(tx *bbolt.Tx) error {
		ok = i.decode(tx.Bucket(bucketImported).Get(importedKey(drop, uidl)))
		return nil
	})
	return i, ok, err
}

// remember notes these entries of a maildrop, which brought a UIDL, before they are deleted. Where that fails they are deleted
// all the same: an import that is made again may bring them back then.
func (s *Store) remember(drop store.MaildropID, entries []entry) {
	if len(entries) == 0 {
		return
	}
	s.space.makeRoom(indexRoom) // a full disk holds up no deletion
	err := s.accounts.write(func(tx *bbolt.Tx, _ *directory) error {
		for _, e := range entries {
			if err := tx.Bucket(bucketImported).Put(importedKey(drop, e.foreign), imported{e.octets, e.sum}.encode()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.unnoted(err)
	}
}

// rememberAt is remember for the entries that wait at these sequence numbers.
func (s *Store) rememberAt(drop store.MaildropID, seqs []uint64) {
	if len(seqs) == 0 {
		return
	}
	entries, err := s.index.foreigners(drop, seqs)
	if err != nil {
		s.unnoted(err)
		return
	}
	s.remember(drop, entries)
}

func (s *Store) unnoted(err error) {
	s.opt.Log.Warn().AnErr("reason", err).Msg("which imported messages are deleted could not be noted: another import may bring them back")
}

// foreigners returns those entries at these sequence numbers that wait and brought a UIDL.
func (ix *index) foreigners(drop store.MaildropID, seqs []uint64) (found []entry, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		for _, seq := range seqs {
			if e, _, ok := findEntry(entryKey(drop, seq), tx.Bucket(bucketEntries)); ok && e.foreign != "" {
				found = append(found, e)
			}
		}
		return nil
	})
	return found, err
}

// forgetImported drops what is remembered of a maildrop, within the transaction that removes its account.
func forgetImported(tx *bbolt.Tx, drop store.MaildropID) error {
	c := tx.Bucket(bucketImported).Cursor()
	for k, _ := c.Seek(dropKey(drop)); bytes.HasPrefix(k, dropKey(drop)); k, _ = c.Seek(dropKey(drop)) {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}
