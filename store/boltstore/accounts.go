package boltstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// accountsFormat is the schema of accounts.db. A field or a bucket that is only added needs no new one: a program that does
// not know it goes on without, and what it takes away by writing an account anew is a way to log in.
const accountsFormat = 1

// Buckets of accounts.db, and the keys of its meta bucket.
var (
	bucketAccounts  = []byte("accounts")
	bucketAliases   = []byte("aliases")
	bucketCatchAlls = []byte("catchalls")
	bucketBlocks    = []byte("blocks")
	bucketBlockUses = []byte("block-uses") // what blockUses counts; no part of the directory

	keyRevision = []byte("revision")
	keyNextDrop = []byte("next-maildrop")
)

// account is the value of bucketAccounts, as JSON; its key is the address.
type account struct {
	Maildrop store.MaildropID `json:"maildrop"`
	Hash     string           `json:"hash"`
	SCRAM    string           `json:"scram,omitempty"` // keys of the same password
	Since    uint64           `json:"since,omitempty"` // the revision in which the password was set
	Disabled bool             `json:"disabled,omitempty"`
	Created  time.Time        `json:"created"`
	Quota    *store.Quota     `json:"quota,omitempty"` // in place of the policy's

	AppPasswords []appPassword `json:"app_passwords,omitempty"` // by name

	address string // its key
}

// appPassword is a further password of an account.
type appPassword struct {
	Name    string    `json:"name"`
	Hash    string    `json:"hash"`
	Since   uint64    `json:"since"` // the revision in which it was added
	Created time.Time `json:"created"`
}

// accounts is accounts.db: facts that the log does not hold. Each change is one synced transaction; all of it is also in
// memory, as a value that is replaced whole.
type accounts struct {
	db  *bbolt.DB
	now func() time.Time

	mu     sync.Mutex // one change at a time
	broken error      // a transaction failed: what the file holds is not known before it is opened again
	dir    atomic.Pointer[directory]
}

func openAccounts(path string, storeID [16]byte, now func() time.Time) (*accounts, error) {
	db, _, err := openBolt(path, 0)
	if err != nil {
		return nil, accountsError(path, err)
	}
	a := &accounts{db: db, now: now}
	wanted := append([]byte{accountsFormat}, storeID[:]...)
	var dir *directory
	err = guarded(func() error {
		return db.Update(func(tx *bbolt.Tx) error {
			if err := prepareAccounts(tx, wanted); err != nil {
				return err
			}
			if err := addYounger(tx); err != nil {
				return err
			}
			dir, err = readDirectory(tx)
			return err
		})
	})
	if err != nil {
		db.Close() //nolint:errcheck // err says more
		return nil, accountsError(path, err)
	}
	a.dir.Store(dir)
	return a, nil
}

// accountsError names the file, and says what helps where it is damaged: nothing else holds what it says.
func accountsError(path string, err error) error {
	if errors.Is(err, errPage) {
		return fmt.Errorf("%s: %w: put a copy of this file in its place, or restore a backup", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func prepareAccounts(tx *bbolt.Tx, wanted []byte) error {
	if meta := tx.Bucket(bucketMeta); meta != nil {
		have := meta.Get(keyFormat)
		if len(have) != len(wanted) || string(have[1:]) != string(wanted[1:]) {
			return fmt.Errorf("belongs to another store")
		}
		if have[0] != wanted[0] {
			return fmt.Errorf("has format %d, this program knows %d: start the version that wrote it", have[0], wanted[0])
		}
		return nil
	}
	for _, name := range [][]byte{bucketMeta, bucketAccounts, bucketAliases, bucketCatchAlls} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(keyFormat, wanted)
}

// addYounger makes the buckets that came after the schema's number. They need no new one: a program that does not know them
// goes on without, and keeps them.
func addYounger(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketLogins, bucketBlocks, bucketBlockUses, bucketImported} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// directory returns the facts as they are now. Nobody changes what it returns.
func (a *accounts) directory() *directory { return a.dir.Load() }

// change runs f in a synced transaction and, when it is durable, puts the new facts in place of the old.
func (a *accounts) change(f func(tx *bbolt.Tx, dir *directory) error) (*directory, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var dir *directory
	err := a.update(func(tx *bbolt.Tx) error {
		err := f(tx, a.directory())
		if err == nil {
			dir, err = readDirectory(tx)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	a.dir.Store(dir)
	return dir, nil
}

// write runs f, which changes nothing that the directory holds, in a synced transaction.
func (a *accounts) write(f func(tx *bbolt.Tx, dir *directory) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.update(func(tx *bbolt.Tx) error { return f(tx, a.directory()) })
}

// update runs f in a synced transaction. The lock is held.
func (a *accounts) update(f func(tx *bbolt.Tx) error) error {
	if a.broken != nil {
		return a.broken
	}
	refused := false
	err := a.db.Update(func(tx *bbolt.Tx) error {
		err := f(tx)
		refused = err != nil
		return err
	})
	if err != nil && !refused {
		a.broken = fmt.Errorf("%w: accounts can't be changed before a restart: %w", store.ErrUnavailable, err)
		return a.broken
	}
	return err
}

// reserve makes sure that no maildrop up to drop is given to a new account: it has mail, whatever this file says.
func (a *accounts) reserve(drop store.MaildropID) error {
	_, err := a.change(func(tx *bbolt.Tx, _ *directory) error {
		meta := tx.Bucket(bucketMeta)
		if getUint(meta, keyNextDrop) >= uint64(drop) {
			return nil
		}
		return putUint(meta, keyNextDrop, uint64(drop))
	})
	return err
}

// setHash replaces the hash of one account when it is still old.
func (a *accounts) setHash(address, old, hash string) error {
	_, err := a.change(func(tx *bbolt.Tx, dir *directory) error {
		acc := dir.accounts[address]
		if acc == nil || acc.Hash != old {
			return nil
		}
		changed := *acc
		changed.Hash = hash
		return putJSON(tx.Bucket(bucketAccounts), address, &changed)
	})
	return err
}

func putJSON(b *bbolt.Bucket, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), text)
}

func getUint(b *bbolt.Bucket, key []byte) uint64 {
	if v := b.Get(key); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func putUint(b *bbolt.Bucket, key []byte, v uint64) error {
	return b.Put(key, binary.BigEndian.AppendUint64(nil, v))
}

// readDirectory copies all facts out of a transaction.
func readDirectory(tx *bbolt.Tx) (*directory, error) {
	d := newDirectory()
	d.revision = getUint(tx.Bucket(bucketMeta), keyRevision)
	err := tx.Bucket(bucketAccounts).ForEach(func(k, v []byte) error {
		acc := &account{address: string(k)}
		d.accounts[acc.address] = acc
		return json.Unmarshal(v, acc)
	})
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	err = tx.Bucket(bucketAliases).ForEach(func(k, v []byte) error {
		var targets []string
		if err := json.Unmarshal(v, &targets); err != nil {
			return err
		}
		if k[0] == '@' {
			d.domainAliases[string(k[1:])] = targets[0][1:]
		} else {
			d.aliases[string(k)] = targets
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("aliases: %w", err)
	}
	err = tx.Bucket(bucketCatchAlls).ForEach(func(k, v []byte) error {
		d.catchAlls[string(k)] = string(v)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("catch-alls: %w", err)
	}
	err = tx.Bucket(bucketBlocks).ForEach(func(k, v []byte) error {
		var facts blockFacts
		err := json.Unmarshal(v, &facts)
		d.blocks.add(string(k), facts)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("blocks: %w", err)
	}
	d.complete()
	return d, nil
}
