package boltstore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

const (
	// knownFor is how long a network is known after its last login, knownFresh how exactly that is noted.
	knownFor   = 30 * 24 * time.Hour
	knownFresh = 24 * time.Hour
	// maxNetworks bounds how many networks are known for one account; the oldest goes.
	maxNetworks = 16

	defaultNoteInterval = time.Minute
)

// bucketLogins holds a note for each maildrop that was logged in to, as JSON. Losing one costs little.
var bucketLogins = []byte("logins")

// note is what is kept of an account's logins.
type note struct {
	Networks     map[string]time.Time `json:"networks,omitempty"` // last login from there, a day behind at most
	AppPasswords map[string]use       `json:"app_passwords,omitempty"`
	Last         *store.Fetch         `json:"last,omitempty"`
}

// maxMechanism bounds what is kept of a mechanism's name, which a daemon says: SCRAM-SHA-256-PLUS has 18 octets.
const maxMechanism = 32

// noteBatch is how many notes one transaction writes or reads.
const noteBatch = 1000

// use is the last login by an app password; Since says which of that name.
type use struct {
	Since uint64    `json:"since"`
	At    time.Time `json:"at"`
}

// logins knows who logged in when and from where. Logins only change the memory; what changed is written in the background,
// once in noteInterval and when the store is closed. The memory is that of the accounts that logged in or were tried since
// the start: a note of maxNetworks networks and store.MaxAppPasswords uses at most for each.
type logins struct {
	s    *Store
	wake chan struct{}
	end  chan struct{}
	done chan struct{}

	mu    sync.Mutex
	notes map[store.MaildropID]*note
	dirty map[store.MaildropID]bool
	last  map[store.MaildropID]time.Time // last login since the start
}

func newLogins(s *Store) *logins {
	return &logins{
		s: s, wake: make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{}),
		notes: map[store.MaildropID]*note{}, dirty: map[store.MaildropID]bool{}, last: map[store.MaildropID]time.Time{},
	}
}

// run writes what changed until stop is called, and then once more.
func (l *logins) run() {
	defer close(l.done)
	for {
		select {
		case <-l.end:
			l.write()
			return
		case <-l.wake:
		}
		l.write()
		select {
		case <-l.end:
			l.write()
			return
		case <-time.After(l.s.opt.noteInterval):
		}
	}
}

func (l *logins) stop() {
	close(l.end)
	<-l.done
}

// note returns what is kept of a maildrop. The lock is held.
func (l *logins) note(drop store.MaildropID) *note {
	n := l.notes[drop]
	if n != nil {
		return n
	}
	n = &note{Networks: map[string]time.Time{}, AppPasswords: map[string]use{}}
	err := l.s.accounts.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucketLogins).Get(dropKey(drop)); v != nil {
			return json.Unmarshal(v, n)
		}
		return nil
	})
	if err != nil {
		l.s.opt.Log.Warn().AnErr("reason", err).Msg("what was noted of an account's logins can't be read: beginning anew")
	}
	l.notes[drop] = n
	return n
}

func dropKey(drop store.MaildropID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(drop)) }

// known tells whether the account was logged in to from there within 30 days.
func (l *logins) known(drop store.MaildropID, peer netip.Addr) bool {
	network := secret.Network(peer)
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.note(drop).Networks[network.String()]
	return ok && network.IsValid() && l.s.opt.Now().Sub(at) < knownFor
}

// tooSoon tells whether the account's last login is less than delay ago.
func (l *logins) tooSoon(drop store.MaildropID, delay time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.last[drop]
	return ok && l.s.opt.Now().Sub(at) < delay
}

// succeeded notes a login.
func (l *logins) succeeded(who principal, by store.Login) {
	now := l.s.opt.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last[who.drop] = now
	n := l.note(who.drop)
	at := now.UTC().Truncate(time.Second)
	n.Last = &store.Fetch{At: at, Peer: by.Peer.WithZone(""), TLS: by.TLS, Mechanism: by.Mechanism[:min(len(by.Mechanism), maxMechanism)], App: who.by.app}
	if who.by.app != "" {
		n.AppPasswords[who.by.app] = use{who.by.since, at}
	}
	if network := secret.Network(by.Peer); network.IsValid() && now.Sub(n.Networks[network.String()]) >= knownFresh {
		n.Networks[network.String()] = at
		n.bound(now)
	}
	l.dirty[who.drop] = true
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// fetches returns when each account was last fetched from: what is in memory, and of the others what is kept.
func (l *logins) fetches() (map[store.MaildropID]*store.Fetch, error) {
	all := map[store.MaildropID]*store.Fetch{}
	for from := []byte{}; from != nil; {
		kept := map[store.MaildropID][]byte{}
		err := l.s.accounts.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketLogins).Cursor()
			k, v := c.Seek(from)
			for from = nil; k != nil; k, v = c.Next() {
				if len(kept) == noteBatch {
					from = bytes.Clone(k)
					return nil
				}
				kept[store.MaildropID(binary.BigEndian.Uint64(k))] = bytes.Clone(v)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for drop, text := range kept {
			var n note
			if json.Unmarshal(text, &n) == nil && n.Last != nil { // who logs in next finds out what is wrong with it
				all[drop] = n.Last
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for drop, n := range l.notes {
		if n.Last != nil {
			last := *n.Last
			all[drop] = &last
		}
	}
	return all, nil
}

// bound drops networks that are known no more, and the oldest of too many.
func (n *note) bound(now time.Time) {
	oldest := ""
	for network, at := range n.Networks {
		if now.Sub(at) >= knownFor {
			delete(n.Networks, network)
		} else if oldest == "" || at.Before(n.Networks[oldest]) {
			oldest = network
		}
	}
	if len(n.Networks) > maxNetworks {
		delete(n.Networks, oldest)
	}
}

// lastUse returns when an app password was last used, zero for never.
func (l *logins) lastUse(drop store.MaildropID, p appPassword) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u := l.note(drop).AppPasswords[p.Name]; u.Since == p.Since {
		return u.At
	}
	return time.Time{}
}

// forget drops from memory what is kept of an account that is gone.
func (l *logins) forget(drop store.MaildropID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.notes, drop)
	delete(l.dirty, drop)
	delete(l.last, drop)
}

// write makes what changed durable.
func (l *logins) write() {
	for more := true; more; {
		err := l.s.accounts.write(func(tx *bbolt.Tx, dir *directory) error {
			var notes map[store.MaildropID][]byte
			notes, more = l.take(dir)
			for drop, text := range notes {
				if err := tx.Bucket(bucketLogins).Put(dropKey(drop), text); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			l.s.opt.Log.Warn().AnErr("reason", err).Msg("who logged in could not be noted")
			return
		}
	}
}

// take returns what one transaction is to write, without what is of no account or app password any more, and whether there is
// more.
func (l *logins) take(dir *directory) (all map[store.MaildropID][]byte, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all = map[store.MaildropID][]byte{}
	for drop := range l.dirty {
		if len(all) == noteBatch {
			return all, true
		}
		delete(l.dirty, drop)
		acc, n := dir.byDrop[drop], l.notes[drop]
		if acc == nil {
			continue
		}
		for name, u := range n.AppPasswords {
			if app := acc.app(name); app == nil || app.Since != u.Since {
				delete(n.AppPasswords, name)
			}
		}
		if text, err := json.Marshal(n); err == nil { // it holds nothing that has no JSON
			all[drop] = text
		}
	}
	return all, false
}
