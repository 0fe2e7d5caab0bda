package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
	"example.org/letterbox/store/vfs/vfstest"
)

const (
	alice = "alice@here.example"
	bob   = "bob@here.example"
)

// start is when these tests begin, by their clock.
func start() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) }

// clock is one that a test sets.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(start().UnixNano())
	return c
}

func (c *clock) now() time.Time           { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(by time.Duration) { c.ns.Add(int64(by)) }

// harness is a Log and its clock. Nothing is written but by flush, and Trace.
type harness struct {
	*testing.T
	*Log
	clock *clock
	fs    *vfstest.Faults

	failures atomic.Int32
	tight    atomic.Bool
}

func begin(t *testing.T, p Policy) *harness {
	h := &harness{T: t, clock: newClock(), fs: vfstest.NewFaults()}
	h.open(filepath.Join(t.TempDir(), "history"), p)
	return h
}

func (h *harness) open(dir string, p Policy) {
	h.Helper()
	l, err := Open(dir, Options{
		FS: h.fs, Now: h.clock.now, Policy: p, interval: time.Hour, Tight: h.tight.Load, Failed: func(error) { h.failures.Add(1) },
	})
	if err != nil {
		h.Fatal(err)
	}
	h.Log = l
	h.Cleanup(l.Close)
}

func (h *harness) reopen() {
	h.Helper()
	h.Close()
	h.open(h.dir, *h.policy.Load())
}

func month() Policy { return Policy{For: 30 * 24 * time.Hour, Bytes: 64 << 20} }

// accept notes a message and returns its id.
func (h *harness) accept(n int, from string, to ...string) store.ID {
	id := store.ID{0: 1, 14: byte(n >> 8), 15: byte(n)}
	h.Add(store.Event{
		Kind: store.EventAccepted, Messages: []store.ID{id}, Session: fmt.Sprint("S", n), Remote: "192.0.2.1", From: from, To: to,
		Accounts: to, Octets: 4711, MessageID: fmt.Sprintf("%d@elsewhere.example", n),
	})
	return id
}

func (h *harness) refuse(peer, from, to, reason string) {
	h.Refused(store.Refusal{
		Session: "R", Peer: netip.MustParseAddr(peer), From: from, To: []string{to}, Verb: "RCPT", Code: 550, Reason: reason,
	})
}

// kinds returns what a query finds, in short.
func (h *harness) kinds(text string) string {
	h.Helper()
	traced, err := h.Trace(h.Context(), store.Query{Text: text})
	if err != nil {
		h.Fatal(err)
	}
	var words []string
	for _, e := range traced.Events {
		words = append(words, string(e.Kind))
	}
	return strings.Join(words, " ")
}

func (h *harness) want(text, kinds string) {
	h.Helper()
	if got := h.kinds(text); got != kinds {
		h.Errorf("%s: got %q, want %q", text, got, kinds)
	}
}

// TestTrace: a message is found by all that it may be known by, and with it who took it.
func TestTrace(t *testing.T) {
	h := begin(t, month())
	id := h.accept(1, "Sender@Elsewhere.EXAMPLE", alice, bob)
	other := h.accept(2, "", alice)
	h.clock.advance(time.Second)
	h.Retrieved("P1", netip.MustParseAddr("::ffff:192.0.2.7"), alice, other)
	h.Retrieved("P1", netip.MustParseAddr("::ffff:192.0.2.7"), alice, id)
	h.clock.advance(time.Second)
	h.Add(store.Event{Kind: store.EventDeleted, Messages: []store.ID{other, id}, Session: "P1", Accounts: []string{alice}})
	const life = "accepted retrieved deleted"
	for _, text := range []string{
		id.String(), strings.ToLower(id.String()), "1@elsewhere.example", "<1@elsewhere.example>", " <1@elsewhere.example>\n",
		"sender@elsewhere.example", "SENDER@elsewhere.example.", "<Sender@elsewhere.example>", bob, "S1",
	} {
		h.want(text, life)
	}
	h.want(alice, "accepted accepted retrieved deleted")
	h.want("<>", life)
	h.want("P1", "retrieved deleted")
	for _, text := range []string{"nobody@here.example", "", "\"", "accepted", "192.0.2.1", "DATA", store.ID{9}.String(), "sender@elsewhere", strings.Repeat("x", 5000)} {
		h.want(text, "")
	}
	traced, err := h.Trace(t.Context(), store.Query{Text: id.String()})
	if err != nil {
		t.Fatal(err)
	}
	if e := traced.Events[0]; e.From != "sender@elsewhere.example" || !slices.Equal(e.To, []string{alice, bob}) || e.Octets != 4711 || !e.Time.Equal(start()) {
		t.Errorf("accepted: %+v", e)
	}
	if e := traced.Events[2]; len(e.Messages) != 1 || e.Messages[0] != id || e.Accounts[0] != alice {
		t.Errorf("deleted: %+v", e)
	}
	if e := traced.Events[1]; e.Remote != "192.0.2.7" {
		t.Errorf("retrieved: %+v", e)
	}
}

// TestTraceUndeleted: who asks for the message that was deleted hears of the one that it became, and the other way round.
func TestTraceUndeleted(t *testing.T) {
	h := begin(t, month())
	id, again := h.accept(1, "a@b.example", alice), store.ID{0: 2}
	h.Add(store.Event{Kind: store.EventDeleted, Messages: []store.ID{id}, Accounts: []string{alice}})
	h.clock.advance(time.Second)
	h.Add(store.Event{Kind: store.EventUndeleted, Messages: []store.ID{again}, Was: id, Accounts: []string{alice}})
	h.clock.advance(time.Second)
	h.Add(store.Event{Kind: store.EventExpired, Messages: []store.ID{again}, Accounts: []string{alice}})
	const all = "accepted deleted undeleted expired"
	h.want(id.String(), all)
	h.want(alice, all)
}

// TestTraceLimit: the newest are the answer, the newest last; what is older than asked for is left out.
func TestTraceLimit(t *testing.T) {
	h := begin(t, month())
	var ids []store.ID
	for i := range 20 {
		ids = append(ids, h.accept(i, "a@b.example", alice))
		h.clock.advance(10 * time.Hour)
	}
	traced, err := h.Trace(t.Context(), store.Query{Text: alice, Limit: 3})
	if err != nil || !traced.More || len(traced.Events) != 3 || traced.Events[2].Messages[0] != ids[19] || traced.Events[0].Messages[0] != ids[17] {
		t.Errorf("%+v, %v", traced, err)
	}
	traced, err = h.Trace(t.Context(), store.Query{Text: alice, Since: h.clock.now().Add(-45 * time.Hour)})
	if err != nil || traced.More || len(traced.Events) != 4 {
		t.Errorf("since: %+v, %v", traced, err)
	}
}

// TestManyInOne: an event with more messages and addresses than fit into a line is found by each of them.
func TestManyInOne(t *testing.T) {
	h := begin(t, month())
	var ids []store.ID
	for i := range 100_000 {
		ids = append(ids, store.ID{0: 1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
	}
	for i, id := range ids {
		h.Retrieved("P", netip.Addr{}, alice, id)
		if i%(maxFetching/2) == 0 {
			h.flush(false)
		}
	}
	h.Add(store.Event{Kind: store.EventDeleted, Messages: ids, Session: "P", Accounts: []string{alice}})
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("u%d@here.example", i))
	}
	h.accept(999, "a@b.example", many...)
	if h.Dropped() != 0 {
		t.Fatalf("%d lines dropped", h.Dropped())
	}
	for _, at := range []int{0, 499, 500, 77_777, 99_999} {
		h.want(ids[at].String(), "retrieved deleted")
	}
	for _, name := range []string{many[0], many[39], many[40], many[999]} {
		if got := h.kinds(name); !strings.HasPrefix(got, "accepted") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if n := h.Bytes(); n > 7<<20 {
		t.Errorf("a drain of 100,000 takes %d octets", n)
	}
}

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

// TestTorn: what a crash left of a line is skipped, wherever it was cut, and what is appended stands on a line of its own.
func TestTorn(t *testing.T) {
	h := begin(t, month())
	first := h.accept(1, "a@b.example", alice)
	second := h.accept(2, "a@b.example", alice)
	h.Close()
	name := filepath.Join(h.dir, "2026-11-26.mail.jsonl")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cutAt := strings.IndexByte(string(whole), '\n') + 1; cutAt <= len(whole); cutAt += 7 {
		for _, garbage := range []string{"", "\x00\x00\x00", "{}\n[]\nnull\n{\"time\":3}\n"} {
			if err := os.WriteFile(name, append(whole[:cutAt:cutAt], garbage...), 0o600); err != nil {
				t.Fatal(err)
			}
			h.open(h.dir, month())
			third := h.accept(3, "a@b.example", alice)
			h.want(first.String(), "accepted")
			h.want(third.String(), "accepted")
			if kinds := h.kinds(second.String()); cutAt < len(whole)-1 && kinds != "" {
				t.Fatalf("cut at %d: half a line is %q", cutAt, kinds)
			}
			h.Close()
		}
	}
}

// TestFullDisk: lines that can't be written are dropped and counted, none of them stays in half, and it goes on once there is
// room. Where the disk is almost full nothing is even tried.
func TestFullDisk(t *testing.T) {
	h := begin(t, month())
	first := h.accept(1, "a@b.example", alice)
	h.flush(false)
	h.fs.Fill(100)
	for i := range 10 {
		h.accept(10+i, "a@b.example", alice)
		h.flush(false)
	}
	if h.Dropped() != 10 || h.failures.Load() != 1 {
		t.Errorf("%d dropped, told %d times", h.Dropped(), h.failures.Load())
	}
	h.fs.Fill(-1)
	last := h.accept(2, "a@b.example", alice)
	h.want(first.String(), "accepted")
	h.want(last.String(), "accepted")
	if n := len(h.all()); n != 2 {
		t.Errorf("%d lines", n)
	}
	h.tight.Store(true)
	h.accept(3, "a@b.example", alice)
	h.want(alice, "accepted accepted")
	if h.Dropped() != 11 {
		t.Errorf("%d dropped", h.Dropped())
	}
}

// TestNeverWaits: nobody who notes something waits for a disk that hangs, and what waits for it is bounded.
func TestNeverWaits(t *testing.T) {
	h := begin(t, month())
	hang, hangs := make(chan struct{}), make(chan struct{})
	h.fs.Fail(func(call vfstest.Call, _ string) error {
		if call == vfstest.Write {
			close(hangs)
			<-hang
		}
		return nil
	})
	h.accept(1, "a@b.example", alice)
	flushed := make(chan struct{})
	go func() {
		h.flush(false)
		close(flushed)
	}()
	<-hangs
	for i := range 50_000 {
		h.accept(i, "a@b.example", alice)
		h.Retrieved("P", netip.Addr{}, alice, store.ID{1})
		h.refuse("192.0.2.1", "", fmt.Sprint(i), "unknown")
	}
	h.mu.Lock()
	waiting := len(h.waiting[ofMail]) + len(h.waiting[ofRefused])
	h.mu.Unlock()
	if waiting > maxWaiting || h.Dropped() == 0 {
		t.Errorf("%d octets wait, %d lines dropped", waiting, h.Dropped())
	}
	h.fs.Fail(nil)
	close(hang)
	<-flushed
}

// TestWriterWakes: what is noted gets into the files by itself, also the counts of refusals that nothing follows.
func TestWriterWakes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	c := newClock()
	l, err := Open(dir, Options{FS: vfs.OS{}, Now: c.now, Policy: month(), interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := &harness{T: t, Log: l, clock: c}
	until := func(what string, is func() bool) {
		for deadline := time.Now().Add(20 * time.Second); !is(); {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	for range 3 {
		before := l.Bytes()
		h.accept(1, "a@b.example", alice)
		until("the line was not written", func() bool { return l.Bytes() > before })
		l.Retrieved("P", netip.Addr{}, alice, store.ID{1})
		before = l.Bytes()
		until("what was retrieved was not written", func() bool { return l.Bytes() > before })
		h.refuse("192.0.2.1", "", "x", "unknown")
		h.refuse("192.0.2.1", "", "x", "unknown")
		before = l.Bytes()
		until("the refusal was not written", func() bool { return l.Bytes() > before })
		before = l.Bytes()
		c.advance(2 * together)
		until("the count was not written", func() bool { return l.Bytes() > before })
		until("the writer does not sleep", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.awake })
	}
}

// TestLine: a line says what encoding/json would.
func TestLine(t *testing.T) {
	for _, e := range []store.Event{
		{Time: start(), Kind: store.EventAccepted},
		{
			Time: start().Add(123 * time.Millisecond), Kind: store.EventRefused, Messages: []store.ID{{1}, {2}}, Was: store.ID{3}, Session: "s",
			Remote: "2001:db8::1", From: nullPath, To: []string{`"a\b"@x`, "grüße@y"}, Accounts: []string{alice}, Octets: -1, MessageID: "<&>",
			Verb: "DATA", Code: 552, Reason: "size", Count: 7, First: start(),
		},
	} {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(b.String(), `00Z"`, `00.000Z"`)
		if got := string(appendLine(nil, &e)) + "\n"; got != want {
			t.Errorf("got  %swant %s", got, want)
		}
	}
}
