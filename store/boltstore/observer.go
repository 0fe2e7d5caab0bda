package boltstore

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// Observer is told how long things take, for metrics. Its methods are called by many goroutines, some of them on the way of a
// delivery, and should return at once.
type Observer interface {
	// Synced is one fdatasync of the log.
	Synced(took time.Duration)
	// Indexed is one transaction of the index, its syncs included.
	Indexed(took time.Duration)
	// Retrieved is the first time that a message of a maildrop was read to its end, so long after it was accepted. Messages that
	// came before the store was opened are left out: whether they were read before is not kept.
	Retrieved(waited time.Duration)
	// Deleted is a message that QUIT deleted, and how long ago it was accepted.
	Deleted(waited time.Duration)
}

// nobody is the Observer of a store that has none.
type nobody struct{}

func (nobody) Synced(time.Duration)    {}
func (nobody) Indexed(time.Duration)   {}
func (nobody) Retrieved(time.Duration) {}
func (nobody) Deleted(time.Duration)   {}

// maxRead bounds the messages that are remembered as read, at about 50 octets each. Beyond it arbitrary ones are forgotten,
// and count once more if they are read again.
const maxRead = 1 << 16

// readers remembers what POP3 sessions saw and read since the store was opened.
type readers struct {
	mu   sync.Mutex
	seen map[store.MaildropID]uint64 // the newest sequence number in the last snapshot
	read map[copyName]struct{}       // at most maxRead
}

// copyName names one message in one maildrop.
type copyName struct {
	drop store.MaildropID
	seq  uint64
}

// saw notes that a session has this snapshot.
func (r *readers) saw(drop store.MaildropID, places []place) {
	if len(places) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[store.MaildropID]uint64{}
	}
	r.seen[drop] = places[len(places)-1].seq
}

// first tells whether a message was not read before, and remembers that it is now.
func (r *readers) first(name copyName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.read[name]; ok {
		return false
	}
	if r.read == nil {
		r.read = map[copyName]struct{}{}
	}
	for old := range r.read {
		if len(r.read) < maxRead {
			break
		}
		delete(r.read, old)
	}
	r.read[name] = struct{}{}
	return true
}

// gone forgets messages that were deleted.
func (r *readers) gone(drop store.MaildropID, seqs []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seq := range seqs {
		delete(r.read, copyName{drop, seq})
	}
}

// unseen returns what each maildrop's last session saw.
func (r *readers) unseen() map[store.MaildropID]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := make(map[store.MaildropID]uint64, len(r.seen))
	for drop, seq := range r.seen {
		seen[drop] = seq
	}
	return seen
}

// retrieved tells history and observer of a message that was read to its end: RETR does that, TOP seldom does.
func (m *maildrop) retrieved(i int, now time.Time) {
	if m.account == "" { // no session reads it
		return
	}
	m.s.history.Retrieved(m.session, m.peer, m.account, m.messages[i].ID)
	began := m.messages[i].ID.Time()
	if began.Before(m.s.opened) || !m.firstRead(i) {
		return
	}
	m.s.opt.Observer.Retrieved(now.Sub(began))
}

// firstRead tells whether a message was not read before, in this session or in another.
func (m *maildrop) firstRead(i int) bool {
	m.mu.Lock()
	if m.read == nil {
		m.read = make([]uint64, (len(m.messages)+63)/64)
	}
	word, bit := &m.read[i/64], uint64(1)<<(i%64)
	again := *word&bit != 0
	*word |= bit
	m.mu.Unlock()
	return !again && m.s.readers.first(copyName{m.drop, m.places[i].seq})
}

// drained tells the observer of the messages that a QUIT deleted.
func (m *maildrop) drained(deleted []int, seqs []uint64) {
	now := m.s.opt.Now()
	for _, i := range deleted {
		m.s.opt.Observer.Deleted(now.Sub(m.messages[i].ID.Time()))
	}
	m.s.readers.gone(m.drop, seqs)
}

// oldestUnseen returns when the oldest message arrived that is in the index and in no session's snapshot, the zero time where
// there is none. It looks at one entry of each maildrop that holds mail.
func (ix *index) oldestUnseen(seen map[store.MaildropID]uint64) (oldest time.Time, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		entries := tx.Bucket(bucketEntries).Cursor()
		drops := tx.Bucket(bucketDrops).Cursor()
		for key, _ := drops.First(); key != nil; key, _ = drops.Next() {
			drop := store.MaildropID(binary.BigEndian.Uint64(key))
			k, v := entries.Seek(entryKey(drop, seen[drop]+1))
			var e entry
			if !bytes.HasPrefix(k, key) || !e.decode(k, v) {
				continue
			}
			if at := e.id.Time(); oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
		return nil
	})
	return oldest, err
}
