package boltstore

import "example.org/letterbox/store"

// lockable is a maildrop as a login by its account's own password finds it.
func lockable(s *Store, drop store.MaildropID) *maildrop {
	var by credential
	if acc := s.accounts.directory().byDrop[drop]; acc != nil {
		by.account = acc.Since
	}
	return newMaildrop(s, drop, by)
}
