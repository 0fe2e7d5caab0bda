package boltstore

import (
	"context"
	"path/filepath"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/history"
)

// historyFolder is the folder of the history. What is in it is no part of the mail: it may be removed, and is in no backup.
const historyFolder = "history"

// openHistory opens the history. A folder that can't be read is no reason to hold up mail.
func (s *Store) openHistory() {
	log, err := history.Open(filepath.Join(s.dir, historyFolder), history.Options{
		FS: s.opt.FS, Now: s.opt.Now, Policy: s.keep.Load().history(), Tight: func() bool { return s.space.tight(0) },
		Failed: func(err error) { s.opt.Log.Warn().AnErr("reason", err).Msg("the history can't be written") },
	})
	if err != nil {
		s.opt.Log.Warn().AnErr("reason", err).Msg("the history can't be read")
	}
	s.history = log
}

func (p *KeepPolicy) history() history.Policy {
	return history.Policy{For: p.HistoryFor, Bytes: p.HistoryBytes}
}

// Note implements store.Noter.
func (s *Store) Note(r store.Refusal) { s.history.Refused(r) }

// Trace implements store.Admin.
func (s *Store) Trace(ctx context.Context, q store.Query) (store.Traced, error) {
	return s.history.Trace(ctx, q)
}

// names returns the addresses of the accounts that have these maildrops.
func (d *directory) names(recipients []store.Recipient) []string {
	names := make([]string, 0, len(recipients))
	for _, r := range recipients {
		if name := d.name(r.Maildrop); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// name returns the address of the account that has a maildrop; empty where none has.
func (d *directory) name(drop store.MaildropID) string {
	if acc := d.byDrop[drop]; acc != nil {
		return acc.address
	}
	return ""
}

// accepted notes a message that is durable, by whatever way it came.
func (s *Store) accepted(d *draft, f *store.Final, octets int64, dir *directory) {
	if !s.history.On() {
		return
	}
	e := store.Event{Kind: store.EventAccepted, Messages: []store.ID{d.id}, Accounts: dir.names(f.Recipients), Octets: octets}
	switch d.kind {
	case kindImport:
		e.Kind = store.EventImported
	case kindRestore:
		e.Kind, e.Was = store.EventUndeleted, d.was
	default:
		e.Session, e.Remote, e.MessageID = d.envelope.Session, history.Remote(f.Origin.Peer), f.Origin.MessageID
		e.From, e.To = d.envelope.From, f.Origin.Paths
	}
	s.history.Add(e)
}

// noteDrained notes what a QUIT deleted.
func (m *maildrop) noteDrained(deleted []int) {
	ids := make([]store.ID, len(deleted))
	for i, n := range deleted {
		ids[i] = m.messages[n].ID
	}
	m.s.history.Add(store.Event{
		Kind: store.EventDeleted, Messages: ids, Session: m.session, Remote: history.Remote(m.peer), Accounts: []string{m.account},
	})
}

// gone notes what an account has no more.
func (s *Store) gone(kind store.EventKind, account string, ids []store.ID) {
	s.history.Add(store.Event{Kind: kind, Messages: ids, Accounts: []string{account}})
}

// forgetHistory removes what the policy keeps no more, by a clock that may be believed.
func (k *keeper) forgetHistory(now time.Time) {
	if err := k.s.history.Expire(now); err != nil {
		k.s.opt.Log.Warn().AnErr("reason", err).Msg("old history could not be removed: trying again later")
	}
}
