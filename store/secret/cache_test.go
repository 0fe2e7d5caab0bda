package secret

import (
	"fmt"
	"testing"
	"time"
)

func TestCache(t *testing.T) {
	clock := newClock()
	c := NewCache[string](clock.now)
	find := func(account uint64, secret, want string) {
		t.Helper()
		if got, ok := c.Find(account, secret); got != want || ok != (want != "") {
			t.Errorf("account %d, %q: %q %t, want %q", account, secret, got, ok, want)
		}
	}
	c.Remember(1, "a", "first")
	c.Remember(1, "b", "second")
	c.Remember(2, "a", "other")
	find(1, "a", "first")
	find(1, "b", "second")
	find(2, "a", "other")
	find(2, "b", "")
	find(1, "", "")
	find(3, "a", "")
	c.Remember(1, "a", "changed")
	find(1, "a", "changed")
	c.Forget(1)
	find(1, "a", "")
	find(1, "b", "")
	find(2, "a", "other")
	for range 5 { // each use keeps it
		clock.advance(cacheTime)
		find(2, "a", "other")
	}
	clock.advance(cacheTime + 1)
	find(2, "a", "")
	if c.order.Len() != 0 || len(c.accounts) != 0 {
		t.Errorf("%d entries of %d accounts are kept", c.order.Len(), len(c.accounts))
	}
}

// Neither one account nor all of them hold more than their bound; what was used last is kept.
func TestCacheBounds(t *testing.T) {
	clock := newClock()
	c := NewCache[int](clock.now)
	for i := range 3 * cachePerAccount {
		clock.advance(time.Millisecond)
		c.Remember(1, fmt.Sprint(i), i)
		c.Find(1, "0")
	}
	if n := len(c.accounts[1]); n != cachePerAccount || c.order.Len() != n {
		t.Errorf("one account has %d entries of %d", n, c.order.Len())
	}
	if _, ok := c.Find(1, "0"); !ok {
		t.Error("the entry that was used all the time is gone")
	}
	for i := range 2 * cacheEntries {
		c.Remember(uint64(i+2), "x", i)
	}
	if n := c.order.Len(); n != cacheEntries || len(c.accounts) != n {
		t.Errorf("%d entries of %d accounts", n, len(c.accounts))
	}
}

// Two processes keep different things of one secret.
func TestCacheKeys(t *testing.T) {
	a, b := NewCache[int](time.Now), NewCache[int](time.Now)
	if a.digest(1, "x") == b.digest(1, "x") || a.digest(1, "x") == a.digest(2, "x") {
		t.Error("a digest is the same elsewhere")
	}
}
