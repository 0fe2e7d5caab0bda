package storetest

import (
	"net/netip"
	"strings"
	"time"

	"example.org/letterbox/store"
)

// traced waits until a query finds these kinds of events, since notes may be on their way, and returns the events.
func (h *harness) traced(text, kinds string) []store.Event {
	h.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		found, err := h.s.Trace(h.ctx(), store.Query{Text: text})
		h.check(err)
		var words []string
		for _, e := range found.Events {
			words = append(words, string(e.Kind))
		}
		got := strings.Join(words, " ")
		if got == kinds && !found.More {
			return found.Events
		}
		if time.Now().After(deadline) {
			h.Errorf("trace of %s: got %q, want %q", text, got, kinds)
			return found.Events
		}
		time.Sleep(10 * time.Millisecond) // no event tells when a note has come
	}
}

// trace: what happened to a message is found by all names that it has; what was refused, too; and nothing else is.
func (h *harness) trace() {
	const me, you = "me@here.example", "you@here.example"
	h.accounts(me, you)
	h.apply(store.Edit{Op: store.AddAlias, Address: "both@here.example", Targets: []string{me, you}})
	d := h.draft(letter)
	f := h.final("both@here.example")
	f.Origin = store.Origin{Peer: netip.MustParseAddr("2001:db8::25"), MessageID: "one@sender.example", Paths: []string{"Both@here.example"}}
	h.check(d.Commit(h.ctx(), f))
	other := h.deliver(letter, you)
	noter, ok := h.s.(store.Noter)
	if !ok {
		h.Fatal("it takes no notes")
	}
	noter.Note(store.Refusal{
		Session: "s2", Peer: netip.MustParseAddr("192.0.2.25"), From: "a@sender.example", To: []string{"nobody@here.example"},
		Verb: "RCPT", Code: 550, Reason: "unknown",
	})
	m := h.open(me)
	h.retrieve(m, 0)
	h.check(m.Commit(h.ctx(), []int{0}))
	h.check(m.Close())

	id := d.ID().String()
	for _, text := range []string{id, strings.ToLower(id), "<one@sender.example>", "both@here.example"} {
		events := h.traced(text, "accepted retrieved deleted")
		if len(events) < 3 {
			return
		}
		in := events[0]
		h.equal("accepted", in.Accounts, []string{me, you})
		h.equal("forward-path", in.To, []string{"both@here.example"})
		h.equal("peer", in.Remote, "2001:db8::25")
		if in.Session != "s1" || in.From != "a@sender.example" || in.MessageID != "one@sender.example" || in.Octets == 0 {
			h.Errorf("accepted: %+v", in)
		}
		for _, out := range events[1:] {
			if out.Session != "p1" || out.Remote != "127.0.0.1" || len(out.Accounts) != 1 || out.Accounts[0] != me || len(out.Messages) != 1 {
				h.Errorf("taken: %+v", out)
			}
		}
	}
	h.traced(you, "accepted accepted retrieved deleted") // of the first message, by whom it was fetched is told, too
	h.traced(other.String(), "accepted")
	refused := h.traced("nobody@here.example", "refused")
	if r := refused[0]; r.Verb != "RCPT" || r.Code != 550 || r.Reason != "unknown" || r.Remote != "192.0.2.25" || r.Session != "s2" {
		h.Errorf("refused: %+v", r)
	}
	h.traced("stranger@here.example", "")

	imported, err := h.s.Import(h.ctx(), me, "foreign", strings.NewReader(letter))
	h.check(err)
	h.traced(imported.String(), "imported")
	h.apply(store.Edit{Op: store.RemoveAccount, Address: me, DiscardMail: true})
	h.traced(imported.String(), "imported removed")
	if found, err := h.s.Trace(h.ctx(), store.Query{Text: me, Limit: 1}); err != nil || len(found.Events) != 1 || !found.More {
		h.Errorf("limit: %+v, %v", found, err)
	}
	if found, err := h.s.Trace(h.ctx(), store.Query{Text: me, Since: time.Now().Add(48 * time.Hour)}); err != nil || len(found.Events) != 0 {
		h.Errorf("since: %+v, %v", found, err)
	}
}
