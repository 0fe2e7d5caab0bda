package history

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// TestRefusals: the first is there at once, what is like it is counted, and nothing is lost when it is closed.
func TestRefusals(t *testing.T) {
	h := begin(t, month())
	for range 5 {
		h.refuse("192.0.2.1", "a@b.example", "nobody@here.example", "unknown")
		h.clock.advance(time.Second)
	}
	h.refuse("192.0.2.1", "a@b.example", "nobody@here.example", "blocked")
	h.refuse("192.0.2.1", "", "nobody@here.example", "unknown")
	h.reopen()
	traced, err := h.Trace(t.Context(), store.Query{Text: "Nobody@here.example"})
	if err != nil || len(traced.Events) != 4 {
		t.Fatalf("%+v, %v", traced, err)
	}
	for _, e := range traced.Events {
		if e.Count > 0 && (e.Count != 4 || !e.First.Equal(start().Add(time.Second)) || !e.Time.Equal(start().Add(4*time.Second)) || e.From != "a@b.example") {
			t.Errorf("%+v", e)
		}
	}
	h.want("a@b.example", "refused refused refused")
	h.want("<>", "refused")
}

// TestRefusalsBounded: whatever strangers do, what is kept of it in memory and on disk is bounded, each of their refusals counts
// once, and those of others are told apart still.
func TestRefusalsBounded(t *testing.T) {
	h := begin(t, month())
	total := 0
	refuse := func(peer, to string) {
		h.refuse(peer, "a@b.example", to, "unknown")
		total++
	}
	for i := range 5000 { // a dictionary from one address
		refuse("198.51.100.1", fmt.Sprintf("guess%d@here.example", i))
	}
	refuse("192.0.2.1", "bobb@here.example")
	h.want("bobb@here.example", "refused")
	if n := len(h.refused.known); n > maxOfClient+2 {
		t.Errorf("%d are remembered of two clients", n)
	}
	for i := range 100_000 { // from everywhere
		refuse(netip.AddrFrom4([4]byte{10, byte(i >> 12), byte(i >> 4), byte(i)}).String(), fmt.Sprintf("x%d@here.example", i))
	}
	if n := len(h.refused.known); n > maxAlike+maxNetworks+maxReasons {
		t.Errorf("%d are remembered", n)
	}
	h.clock.advance(2 * together)
	h.flush(false)
	if n := len(h.refused.known) + len(h.refused.ofClient) + h.refused.exact + h.refused.networks + h.refused.reasons; n != 0 {
		t.Errorf("%d are remembered after their minute", n)
	}
	counted := int64(0)
	for _, e := range h.all() {
		counted += max(e.Count, 1)
	}
	if counted != int64(total) || h.Dropped() != 0 {
		t.Errorf("%d refusals counted of %d, %d dropped", counted, total, h.Dropped())
	}
	if h.Bytes() > 1<<20 {
		t.Errorf("%d octets", h.Bytes())
	}
}

// all returns every event in the files.
func (h *harness) all() (all []store.Event) {
	h.Helper()
	h.flush(true)
	files, err := filepath.Glob(filepath.Join(h.dir, "*"+suffix))
	if err != nil {
		h.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			h.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if e, ok := decodeLine([]byte(line)); ok {
				all = append(all, e)
			}
		}
	}
	return all
}

// size is what the folder takes, and which days are in it.
func (h *harness) size() (octets int64, days []string) {
	h.Helper()
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		h.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			h.Fatal(err)
		}
		octets += info.Size()
		if d := e.Name()[:len(time.DateOnly)]; !slices.Contains(days, d) {
			days = append(days, d)
		}
	}
	return octets, days
}

// TestBytes: the files never take more than they may, within a day and over many; the newest stays; and refusals push out
// nothing of mail.
func TestBytes(t *testing.T) {
	const bound = 1 << 20
	h := begin(t, Policy{For: 365 * 24 * time.Hour, Bytes: bound})
	last := h.accept(0, "a@b.example", alice)
	for i := range 30_000 {
		h.refuse(netip.AddrFrom4([4]byte{10, byte(i >> 12), byte(i >> 4), 1}).String(), "a@b.example", fmt.Sprint(i), "unknown")
		if i%1000 == 0 {
			h.clock.advance(together)
			h.flush(false)
		}
	}
	h.want(last.String(), "accepted")
	for i := range 20_000 {
		if i > 10_000 && i%100 == 0 {
			h.clock.advance(12 * time.Hour)
		}
		last = h.accept(i, "a@b.example", alice)
		if i%500 == 0 {
			h.flush(false)
			if n, _ := h.size(); n > bound || n != h.Bytes() {
				t.Fatalf("%d octets in files, %d counted, %d allowed", n, h.Bytes(), bound)
			}
		}
	}
	h.want(last.String(), "accepted")
	n, days := h.size()
	if n < bound/2 || len(days) < 2 || days[len(days)-1] != day(h.clock.now()) || h.Dropped() != 0 {
		t.Errorf("%d octets in %v, %d dropped", n, days, h.Dropped())
	}
	h.reopen()
	if n != h.Bytes() {
		t.Errorf("%d octets after reopening, %d before", h.Bytes(), n)
	}
}

// TestDays: a day goes when all of it is older than asked for, and only when somebody says what time it is; a clock that went
// back loses nothing.
func TestDays(t *testing.T) {
	h := begin(t, Policy{For: 3 * 24 * time.Hour, Bytes: 1 << 20})
	var ids []store.ID
	for i := range 10 {
		ids = append(ids, h.accept(i, "a@b.example", alice))
		h.refuse("192.0.2.1", "", fmt.Sprint(i), "unknown")
		h.flush(true)
		h.clock.advance(24 * time.Hour)
	}
	if _, days := h.size(); len(days) != 10 {
		t.Fatalf("%v", days)
	}
	h.clock.advance(-24 * time.Hour)
	if err := h.Expire(h.clock.now()); err != nil {
		t.Fatal(err)
	}
	if _, days := h.size(); !slices.Equal(days, []string{"2026-12-02", "2026-12-03", "2026-12-04", "2026-12-05"}) {
		t.Errorf("%v", days)
	}
	h.clock.advance(-48 * time.Hour)
	back := h.accept(99, "a@b.example", alice)
	h.want(back.String(), "accepted")
	h.want(ids[9].String(), "accepted")
	h.SetPolicy(Policy{})
	if err := h.Expire(h.clock.now()); err != nil {
		t.Fatal(err)
	}
	if n, _ := h.size(); n != 0 || h.Bytes() != 0 {
		t.Errorf("%d octets stay of a history that is off", n)
	}
	h.accept(100, "a@b.example", alice)
	_, err := h.Trace(t.Context(), store.Query{Text: alice})
	if !errors.Is(err, store.ErrNoHistory) {
		t.Errorf("%v", err)
	}
}
