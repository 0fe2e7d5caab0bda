package boltstore

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// keptStore is a store whose time the test sets, and whose keeper works when it is told.
type keptStore struct {
	*testStore
	clock, went atomic.Int64 // what the clock says, in Unix milliseconds; what really went by
}

func newKeptStore(t *testing.T, p KeepPolicy) *keptStore {
	k := &keptStore{}
	k.clock.Store(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	k.testStore = newTestStore(t, k.options(p))
	return k
}

func (k *keptStore) options(p KeepPolicy) Options {
	return Options{
		Keep: p, keepInterval: time.Hour, reclaimInterval: time.Hour,
		Built:   time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		Now:     func() time.Time { return time.UnixMilli(k.clock.Load()) },
		elapsed: func() time.Duration { return time.Duration(k.went.Load()) },
	}
}

// pass lets time go by, the clock with it, and the keeper look.
func (k *keptStore) pass(d time.Duration) {
	for ; d > 0; d -= time.Hour {
		step := min(d, time.Hour)
		k.went.Add(int64(step))
		k.clock.Add(step.Milliseconds())
		k.keeper.keep()
	}
}

// waits is how many messages wait, and how many lie in the bin.
func (k *keptStore) waits() (waiting, binned int64) {
	k.Helper()
	if err := k.indexer.settle(0); err != nil {
		k.Fatal(err)
	}
	all, err := k.index.counts()
	if err != nil {
		k.Fatal(err)
	}
	return all[k.drop].messages, all[k.drop].binned
}

func (k *keptStore) expect(what string, waiting, binned int64) {
	k.Helper()
	if w, b := k.waits(); w != waiting || b != binned {
		k.Errorf("%s: %d wait and %d lie in the bin, want %d and %d", what, w, b, waiting, binned)
	}
}

const day = 24 * time.Hour

// TestKeeper: mail expires and bins are emptied when their time has come, but for what an open session sees.
func TestKeeper(t *testing.T) {
	k := newKeptStore(t, KeepPolicy{ExpireAfter: 30 * day, UndeleteFor: 7 * day})
	for range 4 {
		k.send(pattern(100))
	}
	k.remove([]int{0})
	k.expect("deleted", 3, 1)
	k.pass(6 * day)
	k.expect("after 6 days", 3, 1)
	k.pass(2 * day)
	k.expect("after 8 days", 3, 0)
	k.send(pattern(100))
	k.pass(21 * day)
	m := k.pick()
	k.pass(2 * day)
	k.expect("old mail in an open session", 4, 0)
	m.Close()
	k.pass(time.Hour)
	k.expect("after 31 days", 1, 0)
	if st := k.Stats(); st.Delivered != 5 || st.Messages != 1 {
		t.Errorf("%+v", st)
	}
	if found := k.verify(); len(found) != 0 {
		t.Errorf("verify: %v", found)
	}
	k.SetKeep(KeepPolicy{})
	k.pass(60 * day)
	k.expect("without a policy", 1, 0)
}

// TestClockTrouble is a day of trouble with the clock: whatever it says, nothing goes before its time.
func TestClockTrouble(t *testing.T) {
	right := func(k *keptStore) int64 {
		return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).UnixMilli() + time.Duration(k.went.Load()).Milliseconds()
	}
	p := KeepPolicy{ExpireAfter: 30 * day, UndeleteFor: 7 * day}
	k := newKeptStore(t, p)
	for range 3 {
		k.send(pattern(100))
	}
	k.remove([]int{0})
	reopen := func() {
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		k.Store = openTest(t, k.dir, k.options(p))
	}
	for _, wrong := range []int64{0, time.Date(2036, 6, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), right(k) + 1000, right(k) - time.Hour.Milliseconds()} {
		for _, restart := range []bool{false, true} {
			k.clock.Store(wrong)
			if restart {
				reopen()
			}
			k.pass(3 * time.Hour)
			k.expect("while the clock is wrong", 2, 1)
			k.clock.Store(right(k))
			k.pass(time.Hour)
			k.expect("set right", 2, 1)
		}
	}
	k.pass(9 * day)
	k.expect("once the clock went evenly for long enough", 2, 0)
	// Ids went on ascending all the time.
	a, b := k.send(pattern(10)), k.send(pattern(10))
	if string(a[:]) >= string(b[:]) || a.Time().After(time.UnixMilli(k.clock.Load()).Add(time.Second)) {
		t.Errorf("ids %s and %s at %v", a, b, time.UnixMilli(k.clock.Load()))
	}
}

// TestBinOnFullDisk: a disk that fills up empties the bins, so that draining by POP3 makes room.
func TestBinOnFullDisk(t *testing.T) {
	k := newKeptStore(t, KeepPolicy{UndeleteFor: 7 * day})
	k.send(pattern(100))
	k.send(pattern(100))
	k.remove([]int{0})
	k.expect("deleted", 1, 1)
	k.space.reserve = 1 << 60
	k.keeper.keep()
	k.expect("the disk is full", 1, 0)
	k.remove([]int{0})
	k.expect("deleted on a full disk", 0, 0)
}

// TestQuota: a maildrop takes mail until it has what it may have, by count and by octets, whatever is pending.
func TestQuota(t *testing.T) {
	k := newKeptStore(t, KeepPolicy{AccountMessages: 2})
	ask := func(size int64) error {
		_, err := k.Resolve(t.Context(), store.Attempt{To: "me@here.example", Size: size})
		return err
	}
	over := func(what string, err error, want bool) {
		t.Helper()
		if errors.Is(err, store.ErrOverQuota) != want || !want && err != nil {
			t.Errorf("%s: %v, want over quota: %t", what, err, want)
		}
	}
	k.send(pattern(1000))
	over("one of two", ask(0), false)
	if share := k.Stats().QuotaUsed; share != 0.5 {
		t.Errorf("%g of the quota is used", share)
	}
	k.send(pattern(1000))
	over("two of two", ask(0), true)
	k.remove([]int{0})
	over("one of two again", ask(0), false)
	k.SetKeep(KeepPolicy{AccountOctets: 1500})
	over("room for the size", ask(500), false)
	over("no room for the size", ask(501), true)
	over("no size declared", ask(0), false)
	k.SetKeep(KeepPolicy{TotalOctets: 1000})
	over("all together", ask(0), true)
	k.SetKeep(KeepPolicy{AccountMessages: 1})
	set := func(q *store.Quota) {
		t.Helper()
		if _, err := k.Apply(t.Context(), 0, []store.Edit{{Op: store.SetQuota, Address: "me@here.example", Quota: q}}); err != nil {
			t.Fatal(err)
		}
	}
	set(&store.Quota{Messages: 5})
	over("its own quota", ask(0), false)
	set(&store.Quota{})
	over("none of its own", ask(1<<30), false)
	if share := k.Stats().QuotaUsed; share != 0 {
		t.Errorf("%g is used where there is no quota", share)
	}
	set(nil)
	over("the policy's again", ask(0), true)
}

// TestQuotaOfOneTargetOfAnAlias: while one target of an alias is full, mail for the alias waits at its sender, since its one reply
// can't say who gets it; mail for the others themselves goes on.
func TestQuotaOfOneTargetOfAnAlias(t *testing.T) {
	k := newKeptStore(t, KeepPolicy{AccountMessages: 1})
	k.apply(
		store.Edit{Op: store.AddAccount, Address: "you@here.example", Hash: testHash},
		store.Edit{Op: store.AddAlias, Address: "all@here.example", Targets: []string{"me@here.example", "you@here.example"}},
	)
	k.send(pattern(100)) // me is full
	ask := func(to string, want error) {
		t.Helper()
		if _, err := k.Resolve(t.Context(), store.Attempt{To: to}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", to, err, want)
		}
	}
	ask("all@here.example", store.ErrOverQuota)
	ask("you@here.example", nil)
	k.remove([]int{0})
	ask("all@here.example", nil)
}
