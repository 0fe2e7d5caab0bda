package boltstore

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"
)

// tenYearsAhead is where a wrong clock stands.
var tenYearsAhead = time.Date(2036, 6, 1, 0, 0, 0, 0, time.UTC)

// reopen is a restart.
func (k *keptStore) reopen(p KeepPolicy) {
	k.Helper()
	if err := k.Close(); err != nil {
		k.Fatal(err)
	}
	k.Store = openTest(k.T, k.dir, k.options(p))
}

// TestClockAheadAndRestart: nothing vouches for a clock that is ten years ahead but a day for which it goes evenly: no record that it
// gave its time, and no restart; and that day may be made of several runs.
func TestClockAheadAndRestart(t *testing.T) {
	p := KeepPolicy{ExpireAfter: 30 * day, UndeleteFor: 7 * day}
	for name, write := range map[string]func(k *keptStore){
		"a delivery": func(k *keptStore) { k.send([]byte("spam\r\n")); k.remove([]int{0}) },
		"a QUIT":     func(k *keptStore) { k.remove([]int{0}) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeptStore(t, p)
			for range 3 {
				k.send(pattern(100))
			}
			k.clock.Store(tenYearsAhead.UnixMilli())
			k.reopen(p)
			k.pass(time.Hour)
			k.expect("an hour after the start", 3, 0)
			write(k)
			want, binned := k.waits()
			for range 3 {
				k.reopen(p)
				k.pass(5 * time.Hour)
				k.expect("while the clock is not believed", want, binned)
			}
			k.reopen(p)
			k.pass(9 * time.Hour)
			if waiting, _ := k.waits(); waiting >= want {
				t.Errorf("%d messages wait after a day for which the clock went evenly", waiting)
			}
		})
	}
}

// TestClockNoteDamaged: a note that can't be read is made anew, and until then the newest record says what time it was.
func TestClockNoteDamaged(t *testing.T) {
	p := KeepPolicy{ExpireAfter: 30 * day}
	k := newKeptStore(t, p)
	k.send(pattern(100))
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, k.clockName(), 20)
	k.clock.Store(tenYearsAhead.UnixMilli())
	k.Store = openTest(t, k.dir, k.options(p))
	k.pass(3 * time.Hour)
	k.expect("with a damaged note", 1, 0)
	k.reopen(p)
	k.pass(3 * time.Hour)
	k.expect("with the new one", 1, 0)
}

// TestClockBehindInANewStore: mail that came, and was deleted, while the clock of a new store's machine was in 1970 goes when its time
// has come by the clock that was set right, also where the store was restarted in between.
func TestClockBehindInANewStore(t *testing.T) {
	p := KeepPolicy{ExpireAfter: 30 * day, UndeleteFor: 7 * day}
	for name, between := range map[string]func(k *keptStore){"": func(*keptStore) {}, "with a restart": func(k *keptStore) { k.reopen(p) }} {
		t.Run(name, func(t *testing.T) {
			k := &keptStore{}
			k.clock.Store(1000)
			k.testStore = newTestStore(t, k.options(p))
			k.send(pattern(100))
			k.send(pattern(100))
			k.remove([]int{0})
			k.pass(time.Hour)
			k.clock.Store(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
			between(k)
			k.pass(5 * day)
			k.expect("5 days later", 1, 1)
			k.pass(4 * day)
			k.expect("9 days later", 1, 0)
			k.pass(20 * day)
			k.expect("29 days later", 1, 0)
			k.pass(3 * day)
			k.expect("32 days later", 0, 0)
		})
	}
}

// TestBinWhileTheClockIsWrong: what is deleted meanwhile can be had back for as long as the policy says from the deletion on, where the
// clock is behind, and where it is ahead from when it is believed again, and no longer.
func TestBinWhileTheClockIsWrong(t *testing.T) {
	p := KeepPolicy{UndeleteFor: 7 * day}
	for name, wrong := range map[string]time.Time{"behind": time.UnixMilli(1000), "ahead": tenYearsAhead} {
		for _, restarts := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				restart := func(k *keptStore) {
					if restarts {
						k.reopen(p)
					}
				}
				k := newKeptStore(t, p)
				k.send(pattern(100))
				k.send(pattern(100))
				k.pass(20 * day)
				right := k.clock.Load()
				k.clock.Store(wrong.UnixMilli())
				restart(k)
				k.remove([]int{0})
				k.clock.Store(right)
				restart(k)
				k.pass(6 * day)
				k.expect("after 6 days", 1, 1)
				k.pass(3 * day)
				k.expect("after 9 days", 1, 0)
			})
		}
	}
}

// TestRestoredMailExpires: what a restore brings arrives in the new store then. It does not expire while it is restored, nor a day later.
func TestRestoredMailExpires(t *testing.T) {
	p := KeepPolicy{ExpireAfter: 30 * day}
	k := newKeptStore(t, KeepPolicy{})
	for range 3 {
		k.send(pattern(100))
	}
	var out bytes.Buffer
	if _, err := k.Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	k.clock.Add((60 * day).Milliseconds())
	dir := filepath.Join(scratch(t), "restored")
	if _, err := Restore(t.Context(), dir, &out, k.options(p)); err != nil {
		t.Fatal(err)
	}
	again := &keptStore{}
	again.clock.Store(k.clock.Load())
	again.testStore = &testStore{T: t, Store: openTest(t, dir, again.options(p)), drop: 1}
	again.expect("restored", 3, 0)
	again.pass(29 * day)
	again.expect("29 days later", 3, 0)
	again.pass(2 * day)
	again.expect("31 days later", 0, 0)
}
