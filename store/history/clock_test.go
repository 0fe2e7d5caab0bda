package history

import (
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// TestDaysAhead: what a clock that ran ahead dated counts from when that clock was set right. It does not stay until its day has
// come, and pushes out nothing that is younger.
func TestDaysAhead(t *testing.T) {
	const bound = 1 << 20
	h := begin(t, Policy{For: 3 * 24 * time.Hour, Bytes: bound})
	h.clock.advance(4000 * 24 * time.Hour)
	for n := 0; h.Bytes() < bound/2; n++ {
		h.accept(n, "ahead@b.example", alice)
		h.flush(true)
	}
	h.refuse("192.0.2.1", "", "ahead", "unknown")
	h.flush(true)
	h.clock.ns.Store(start().UnixNano())
	first := h.accept(5000, "a@b.example", alice)
	h.flush(true)
	expire := func() {
		t.Helper()
		if err := h.Expire(h.clock.now()); err != nil {
			t.Fatal(err)
		}
	}
	before := h.Bytes()
	expire()
	if n, days := h.size(); !slices.Equal(days, []string{day(start())}) || n != before || h.Bytes() != n {
		t.Errorf("%v are left, of %d octets, %d counted, %d before", days, n, h.Bytes(), before)
	}
	h.want("ahead", "refused")
	h.want(first.String(), "accepted")
	h.reopen()
	last := h.accept(5001, "a@b.example", alice)
	h.want(last.String(), "accepted")
	h.want("ahead", "refused")
	h.clock.advance(5 * 24 * time.Hour)
	expire()
	if n, days := h.size(); n != 0 {
		t.Errorf("%v are left, of %d octets", days, n)
	}
}

// TestDaysAheadBesideOthers: a name that is taken by what is no file of ours is not taken from it.
func TestDaysAheadBesideOthers(t *testing.T) {
	h := begin(t, month())
	h.clock.advance(50 * 24 * time.Hour)
	h.accept(1, "a@b.example", alice)
	h.flush(true)
	h.clock.ns.Store(start().UnixNano())
	other := filepath.Join(h.dir, day(start())+".mail.jsonl")
	if err := h.fs.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.Expire(h.clock.now()); err == nil {
		t.Error("no error came back")
	}
	h.want(alice, "accepted")
}

// TestTraceOverASetClock: what became of a message is found also where the clock was ahead when it came.
func TestTraceOverASetClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"an hour": time.Hour, "years": 4000 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			h := begin(t, month())
			h.clock.advance(ahead)
			id := h.accept(1, "a@b.example", alice)
			h.flush(true)
			h.clock.advance(-ahead + time.Minute)
			h.Retrieved("P1", netip.MustParseAddr("192.0.2.7"), alice, id)
			h.Add(store.Event{Kind: store.EventDeleted, Messages: []store.ID{id}, Session: "P1", Accounts: []string{alice}})
			h.flush(true)
			h.clock.advance(2 * time.Hour)
			h.want("1@elsewhere.example", "retrieved deleted accepted")
		})
	}
}
