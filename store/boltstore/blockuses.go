package boltstore

import (
	"encoding/binary"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// defaultCountInterval is how much of the blocks' counts a crash may lose: refusing a stranger must not cost a synced
// transaction.
const defaultCountInterval = time.Minute

// blockUses counts what each block refused. There is an entry for each block that was used, and the file is written an
// interval after the first use that it lacks.
type blockUses struct {
	accounts *accounts
	interval time.Duration
	now      func() time.Time
	failed   func(error)

	writing sync.Mutex // held by whoever writes the file

	mu      sync.Mutex
	byKey   map[string]*blockUse
	timer   *time.Timer // runs while a use is not in the file
	stopped bool
}

// blockUse is the value of bucketBlockUses: two numbers of 64 bits.
type blockUse struct {
	count uint64
	last  int64 // Unix seconds
	dirty bool
}

func (s *Store) newBlockUses() (*blockUses, error) {
	u := &blockUses{
		accounts: s.accounts, interval: s.opt.countInterval, now: s.opt.Now, byKey: map[string]*blockUse{},
		failed: func(err error) { s.opt.Log.Warn().Err(err).Msg("the counts of blocks can't be written") },
	}
	err := s.accounts.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketBlockUses).ForEach(func(k, v []byte) error {
			if len(v) == 16 {
				u.byKey[string(k)] = &blockUse{count: binary.BigEndian.Uint64(v), last: int64(binary.BigEndian.Uint64(v[8:]))}
			}
			return nil
		})
	})
	return u, err
}

// count notes that a block refused one recipient.
func (u *blockUses) count(key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	use := u.byKey[key]
	if use == nil {
		use = &blockUse{}
		u.byKey[key] = use
	}
	use.count, use.last, use.dirty = use.count+1, u.now().Unix(), true
	if u.timer == nil && !u.stopped {
		u.timer = time.AfterFunc(u.interval, u.tick)
	}
}

// of returns what a block refused, and when it last did; zero when it never did.
func (u *blockUses) of(key string) (count uint64, last time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if use := u.byKey[key]; use != nil {
		return use.count, time.Unix(use.last, 0).UTC()
	}
	return 0, time.Time{}
}

// forget drops the counts of blocks that were removed.
func (u *blockUses) forget(keys []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, key := range keys {
		delete(u.byKey, key)
	}
}

// tick writes, unless the store is closing.
func (u *blockUses) tick() {
	u.writing.Lock()
	defer u.writing.Unlock()
	u.mu.Lock()
	stopped := u.stopped
	u.mu.Unlock()
	if !stopped {
		u.write()
	}
}

// write brings into the file what it lacks. Of a block that was removed meanwhile nothing is written.
func (u *blockUses) write() {
	u.mu.Lock()
	u.timer = nil
	dirty := map[string][]byte{}
	for key, use := range u.byKey {
		if use.dirty {
			use.dirty = false
			v := binary.BigEndian.AppendUint64(nil, use.count)
			dirty[key] = binary.BigEndian.AppendUint64(v, uint64(use.last))
		}
	}
	u.mu.Unlock()
	if len(dirty) == 0 {
		return
	}
	err := u.accounts.write(func(tx *bbolt.Tx, dir *directory) error {
		for key, v := range dirty {
			if _, exists := dir.blocks.facts[key]; !exists {
				continue
			}
			if err := tx.Bucket(bucketBlockUses).Put([]byte(key), v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		u.failed(err)
	}
}

// stop writes what is counted, for the last time.
func (u *blockUses) stop() {
	u.mu.Lock()
	u.stopped = true
	if u.timer != nil {
		u.timer.Stop()
	}
	u.mu.Unlock()
	u.writing.Lock()
	defer u.writing.Unlock()
	u.write()
}
