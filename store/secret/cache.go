package secret

import (
	"container/list"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/blake2b"
)

// Bounds of a Cache: an entry takes about 250 octets, all of them together 1 MiB.
const (
	cacheTime       = 10 * time.Minute // since the last use
	cacheEntries    = 4096
	cachePerAccount = 16
)

// Cache remembers for ten minutes since its last use which secret opened an account, so that a client that comes every minute
// is not hashed every minute. It holds no secret and nothing that would help to find one without its key, which is random,
// in memory alone, and new in each process. C says what the secret stands for; whoever asks decides whether that still
// holds. Its methods may be called by any number of goroutines.
type Cache[C comparable] struct {
	now func() time.Time
	key [32]byte

	mu       sync.Mutex
	order    list.List // of *verified, the last used in front
	accounts map[uint64][]*list.Element
}

// verified is one secret that was right.
type verified[C comparable] struct {
	account uint64
	digest  [blake2b.Size256]byte
	means   C
	used    time.Time
}

// NewCache returns an empty Cache that reads the time from now.
func NewCache[C comparable](now func() time.Time) *Cache[C] {
	c := &Cache[C]{now: now, accounts: map[uint64][]*list.Element{}}
	rand.Read(c.key[:]) //nolint:errcheck // it never fails
	return c
}

// digest of an account and a secret, under a key that only this process knows.
func (c *Cache[C]) digest(account uint64, secret string) [blake2b.Size256]byte {
	return keyed(&c.key, strconv.FormatUint(account, 10), secret)
}

// keyed is BLAKE2b-256 of parts, each behind its length, under a key.
func keyed(key *[32]byte, parts ...string) (sum [blake2b.Size256]byte) {
	var room [512]byte
	text := room[:0]
	for _, p := range parts {
		text = append(binary.BigEndian.AppendUint64(text, uint64(len(p))), p...)
	}
	mac, err := blake2b.New256(key[:])
	if err != nil {
		panic(err) // the key's length is right
	}
	mac.Write(text) //nolint:errcheck // it never fails
	mac.Sum(sum[:0])
	clear(text)
	return sum
}

// Find returns what the secret was remembered for. It compares in constant time.
func (c *Cache[C]) Find(account uint64, secret string) (means C, ok bool) {
	sum := c.digest(account, secret)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	for _, e := range c.accounts[account] {
		if v := e.Value.(*verified[C]); subtle.ConstantTimeCompare(v.digest[:], sum[:]) == 1 {
			v.used, means, ok = c.now(), v.means, true
			c.order.MoveToFront(e)
		}
	}
	return means, ok
}

// Remember keeps that the secret was right, in place of what was kept of the same secret. Where there is no room, what was
// not used for longest goes.
func (c *Cache[C]) Remember(account uint64, secret string, means C) {
	sum := c.digest(account, secret)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	var oldest *list.Element
	for _, e := range c.accounts[account] {
		v := e.Value.(*verified[C])
		if v.digest == sum {
			v.means, v.used = means, c.now()
			c.order.MoveToFront(e)
			return
		}
		if oldest == nil || v.used.Before(oldest.Value.(*verified[C]).used) {
			oldest = e
		}
	}
	switch {
	case len(c.accounts[account]) >= cachePerAccount:
		c.remove(oldest)
	case c.order.Len() >= cacheEntries:
		c.remove(c.order.Back())
	}
	e := c.order.PushFront(&verified[C]{account, sum, means, c.now()})
	c.accounts[account] = append(c.accounts[account], e)
}

// Forget drops all secrets of an account.
func (c *Cache[C]) Forget(account uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.accounts[account] {
		c.order.Remove(e)
	}
	delete(c.accounts, account)
}

// expire drops what was not used for long.
func (c *Cache[C]) expire() {
	for e := c.order.Back(); e != nil && c.now().Sub(e.Value.(*verified[C]).used) > cacheTime; e = c.order.Back() {
		c.remove(e)
	}
}

func (c *Cache[C]) remove(e *list.Element) {
	account := e.Value.(*verified[C]).account
	c.order.Remove(e)
	kept := c.accounts[account][:0]
	for _, other := range c.accounts[account] {
		if other != e {
			kept = append(kept, other)
		}
	}
	clear(c.accounts[account][len(kept):])
	if c.accounts[account] = kept; len(kept) == 0 {
		delete(c.accounts, account)
	}
}
