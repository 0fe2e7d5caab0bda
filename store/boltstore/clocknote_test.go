package boltstore

import (
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
