package history

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
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
