package boltstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
	"example.org/letterbox/store/seglog"
)

// Directory implements store.Admin.
func (s *Store) Directory(ctx context.Context) (store.Directory, error) {
	if err := ctx.Err(); err != nil {
		return store.Directory{}, err
	}
	if err := s.indexer.settle(0); err != nil {
		return store.Directory{}, err
	}
	waiting, err := s.index.counts()
	if err != nil {
		return store.Directory{}, err
	}
	fetches, err := s.logins.fetches()
	if err != nil {
		return store.Directory{}, err
	}
	d := s.accounts.directory()
	out := store.Directory{Revision: d.revision, Accounts: []store.Account{}, Aliases: []store.Alias{}, CatchAlls: []store.CatchAll{}}
	for _, address := range slices.Sorted(maps.Keys(d.accounts)) {
		acc := d.accounts[address]
		n := waiting[acc.Maildrop]
		out.Accounts = append(out.Accounts, store.Account{
			Address: address, Maildrop: acc.Maildrop, Disabled: acc.Disabled, Created: acc.Created, Quota: acc.Quota,
			Messages: n.messages, Octets: n.octets, Undeletable: n.binned, UndeletableOctets: n.binnedOctets,
			LastFetch: fetches[acc.Maildrop], SCRAM: acc.SCRAM != "", AppPasswords: s.appPasswords(acc),
		})
	}
	for _, domain := range slices.Sorted(maps.Keys(d.domainAliases)) {
		out.Aliases = append(out.Aliases, store.Alias{Address: "@" + domain, Targets: []string{"@" + d.domainAliases[domain]}})
	}
	for _, address := range slices.Sorted(maps.Keys(d.aliases)) {
		out.Aliases = append(out.Aliases, store.Alias{Address: address, Targets: slices.Clone(d.aliases[address])})
	}
	for _, domain := range slices.Sorted(maps.Keys(d.catchAlls)) {
		out.CatchAlls = append(out.CatchAlls, store.CatchAll{Domain: domain, Target: d.catchAlls[domain]})
	}
	out.Blocks = d.blocks.list(s.blockUses)
	return out, nil
}

// appPasswords is what may be told of an account's app passwords.
func (s *Store) appPasswords(acc *account) []store.AppPassword {
	var out []store.AppPassword
	for _, p := range acc.AppPasswords {
		out = append(out, store.AppPassword{Name: p.Name, Created: p.Created, LastUsed: s.logins.lastUse(acc.Maildrop, p)})
	}
	return out
}

// Apply implements store.Admin. While it runs, no message is committed: what an edit decides from stays true.
func (s *Store) Apply(ctx context.Context, revision uint64, edits []store.Edit) (uint64, error) {
	s.admission.Lock()
	defer s.admission.Unlock()
	e := editor{s: s, ctx: ctx}
	dir, err := s.accounts.change(func(tx *bbolt.Tx, now *directory) error {
		if revision != 0 && revision != now.revision {
			return &store.EditError{
				Code: store.CodeRevision,
				Text: fmt.Sprintf("the accounts have changed meanwhile (revision %d, not %d): look again and repeat", now.revision, revision),
			}
		}
		e.tx, e.dir = tx, now
		for _, edit := range edits {
			if err := e.apply(edit); err != nil {
				return err
			}
			var err error
			if e.dir, err = readDirectory(tx); err != nil {
				return err
			}
		}
		if err := putUint(tx.Bucket(bucketMeta), keyRevision, now.revision+1); err != nil {
			return err
		}
		return e.discardMail()
	})
	if err != nil {
		return 0, err
	}
	s.blockUses.forget(e.unblocked)
	for _, drop := range e.touched {
		s.verified.Forget(uint64(drop))
		if dir.byDrop[drop] == nil {
			s.logins.forget(drop)
		}
	}
	s.expel(dir)
	for _, r := range e.removed {
		s.gone(store.EventRemoved, r.account, r.ids)
	}
	return dir.revision, nil
}

// editor makes edits within one transaction.
type editor struct {
	s         *Store
	ctx       context.Context
	tx        *bbolt.Tx
	dir       *directory // with the edits so far
	discard   []store.MaildropID
	removed   []removal
	touched   []store.MaildropID // of the accounts that were changed
	unblocked []string           // keys of blocks that are gone
}

// removal is an account that is removed, and the messages that wait for it.
type removal struct {
	account string
	ids     []store.ID
}

func refuse(code store.EditCode, format string, args ...any) error {
	return &store.EditError{Code: code, Text: fmt.Sprintf(format, args...)}
}

func (e *editor) apply(edit store.Edit) error {
	switch edit.Op {
	case store.AddAccount:
		return e.addAccount(edit)
	case store.SetPassword, store.EnableAccount, store.DisableAccount, store.SetQuota:
		return e.changeAccount(edit)
	case store.RemoveAccount:
		return e.removeAccount(edit)
	case store.AddAppPassword, store.RemoveAppPassword:
		return e.changeAppPasswords(edit)
	case store.AddAlias:
		return e.addAlias(edit)
	case store.RemoveAlias:
		return e.removeAlias(edit)
	case store.SetCatchAll, store.ClearCatchAll:
		return e.catchAll(edit)
	case store.AddBlock:
		return e.addBlock(edit)
	case store.RemoveBlock:
		return e.removeBlock(edit)
	default:
		return refuse(store.CodeInvalid, "%q is no edit that this version knows", edit.Op)
	}
}

// address returns the canonical form of a name in an edit.
func address(text string) (string, error) {
	a, err := store.AccountAddress(text)
	if err != nil {
		return "", refuse(store.CodeInvalid, "%q %v", text, err)
	}
	return a.String(), nil
}

func (e *editor) addAccount(edit store.Edit) error {
	name, err := address(edit.Address)
	if err != nil {
		return err
	}
	if e.dir.accounts[name] != nil {
		return refuse(store.CodeExists, "%s is an account already", name)
	}
	if e.dir.aliases[name] != nil {
		return refuse(store.CodeExists, "%s is an alias; remove that first: letterbox alias remove %s", name, name)
	}
	if err := checkPassword(name, edit); err != nil {
		return err
	}
	meta := e.tx.Bucket(bucketMeta)
	drop := getUint(meta, keyNextDrop) + 1
	if err := putUint(meta, keyNextDrop, drop); err != nil {
		return err
	}
	return putJSON(e.tx.Bucket(bucketAccounts), name, &account{
		Maildrop: store.MaildropID(drop), Hash: edit.Hash, SCRAM: edit.SCRAM, Since: e.revision(),
		Created: e.s.opt.Now().UTC().Truncate(1e9),
	})
}

// checkPassword refuses a hash or keys that no login could be checked with.
func checkPassword(name string, edit store.Edit) error {
	err := secret.Check(edit.Hash)
	if err == nil && edit.SCRAM != "" {
		err = secret.CheckSCRAM(edit.SCRAM)
	}
	if err != nil {
		return refuse(store.CodeInvalid, "%s: %v", name, err)
	}
	return nil
}

// revision is the one that the edits make.
func (e *editor) revision() uint64 { return e.dir.revision + 1 }

// existing returns a copy of an account that an edit names, and notes that it is changed.
func (e *editor) existing(text string) (string, account, error) {
	name, err := address(text)
	if err != nil {
		return "", account{}, err
	}
	acc := e.dir.accounts[name]
	if acc == nil {
		return "", account{}, refuse(store.CodeMissing, "%s is no account: see letterbox user list", name)
	}
	e.touched = append(e.touched, acc.Maildrop)
	return name, *acc, nil
}

func (e *editor) changeAccount(edit store.Edit) error {
	name, acc, err := e.existing(edit.Address)
	if err != nil {
		return err
	}
	switch edit.Op {
	case store.EnableAccount:
		acc.Disabled = false
	case store.DisableAccount:
		acc.Disabled = true
	case store.SetQuota:
		if edit.Quota != nil && (edit.Quota.Octets < 0 || edit.Quota.Messages < 0) {
			return refuse(store.CodeInvalid, "the quota of %s can't be less than nothing", name)
		}
		acc.Quota = edit.Quota
	default:
		if err := checkPassword(name, edit); err != nil {
			return err
		}
		acc.Hash, acc.SCRAM, acc.Since = edit.Hash, edit.SCRAM, e.revision()
	}
	return putJSON(e.tx.Bucket(bucketAccounts), name, &acc)
}

func (e *editor) removeAccount(edit store.Edit) error {
	name, acc, err := e.existing(edit.Address)
	if err != nil {
		return err
	}
	waiting, err := e.s.waiting(acc.Maildrop)
	if err != nil {
		return err
	}
	if len(waiting) > 0 && !edit.DiscardMail {
		return refuse(store.CodeNotEmpty, "%d messages wait for %s: fetch them first, or say --discard-mail to delete them with the account", len(waiting), name)
	}
	e.discard = append(e.discard, acc.Maildrop)
	gone := removal{account: name}
	for i := range waiting {
		gone.ids = append(gone.ids, waiting[i].id)
	}
	e.removed = append(e.removed, gone)
	if err := e.tx.Bucket(bucketLogins).Delete(dropKey(acc.Maildrop)); err != nil {
		return err
	}
	if err := forgetImported(e.tx, acc.Maildrop); err != nil {
		return err
	}
	return e.tx.Bucket(bucketAccounts).Delete([]byte(name))
}

// waiting lists what a maildrop holds, pending changes included.
func (s *Store) waiting(drop store.MaildropID) (entries []entry, err error) {
	if err := s.indexer.settle(drop); err != nil {
		return nil, err
	}
	err = s.index.list(drop, func(int64) {}, func(e *entry) { entries = append(entries, *e) })
	return entries, err
}

// discardMail deletes the mail of removed accounts, after every edit was found to be possible and before any is durable: a
// crash between leaves an account without the mail that its operator threw away, and never mail without an account. Where the disk
// is full the ballast is given up for it, as for every deletion.
func (e *editor) discardMail() error {
	err := e.appendRemovals()
	if errors.Is(err, store.ErrFull) && e.s.space.makeRoom(math.MaxInt64) {
		err = e.appendRemovals() // of what is left: some of it may be deleted
	}
	if err != nil {
		return fmt.Errorf("%w; the mail of some of these accounts may be deleted already, none of them is removed", err)
	}
	return nil
}

// appendRemovals makes durable that everything is deleted that the removed accounts have.
func (e *editor) appendRemovals() error {
	var records []*seglog.Record
	for _, drop := range e.discard {
		some, err := e.s.removals(drop)
		if err != nil {
			return err
		}
		records = append(records, some...)
	}
	return e.s.appendDeletions(records)
}

func (s *Store) appendDeletions(records []*seglog.Record) error {
	s.moving.RLock() // as write does
	defer s.moving.RUnlock()
	if err := s.log.AppendAll(records); err != nil {
		return storeError(err)
	}
	return nil
}

// removals makes the records that delete everything in a maildrop and its bin.
func (s *Store) removals(drop store.MaildropID) (records []*seglog.Record, err error) {
	entries, err := s.waiting(drop)
	if err != nil {
		return nil, err
	}
	var freed int64
	seqs := make([]uint64, len(entries))
	for i, en := range entries {
		seqs[i] = en.seq
		freed += en.octets
	}
	if len(seqs) > 0 {
		records = append(records, s.deletion(kindRemoval, drop, freed, seqs))
	}
	var binned []uint64
	err = s.index.listBin(drop, func(en *entry) { binned = append(binned, en.seq) })
	if err == nil && len(binned) > 0 {
		records = append(records, s.deletion(kindPurge, drop, 0, binned))
	}
	return records, err
}
