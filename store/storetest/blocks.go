package storetest

import (
	"fmt"
	"net/netip"

	"example.org/letterbox/store"
)

// block is an edit that adds one, for every recipient or for one.
func block(sender string, recipient ...string) store.Edit {
	return store.Edit{Op: store.AddBlock, Address: sender, Targets: recipient}
}

// attempt resolves one forward-path for a sender.
func (h *harness) attempt(peer, from, to string) error {
	a := store.Attempt{Session: "s", From: from, To: to}
	if peer != "" {
		a.Peer = netip.MustParseAddr(peer)
	}
	_, err := h.s.Resolve(h.ctx(), a)
	return err
}

func (h *harness) blocks() {
	h.accounts("me@here.example", "you@here.example")
	h.apply(
		store.Edit{Op: store.AddAlias, Address: "@twin.example", Targets: []string{"@here.example"}},
		store.Edit{Op: store.SetCatchAll, Address: "all.example", Targets: []string{"me@here.example"}},
		block("Pest@Bulk.example."), block("spam.example"), block("@b\u00fccher.example"), block("192.0.2.0/24"), block("198.51.100.7"),
		block("2001:db8::/32"), block("", "shop@all.example"), block("", "me+leaked@here.example"), block("ex.example", "me@here.example"),
		block("", "tagged@here.example"),
	)
	const peer, from, to = "203.0.113.1", "a@sender.example", "me@here.example"
	for _, c := range []struct {
		peer, from, to string
		blocked        bool
	}{
		{peer, from, to, false},
		{"", "", to, false},
		{peer, "pest@bulk.example", to, true},
		{"", "PEST@bulk.EXAMPLE", "you@here.example", true},
		{peer, "pest+1@bulk.example", to, false},
		{peer, "other@bulk.example", to, false},
		{peer, "x@spam.example", to, true},
		{peer, "x@mail.eu.spam.example", to, true},
		{peer, "x@notspam.example", to, false},
		{peer, "x@xn--bcher-kva.example", to, true},
		{peer, "x@B\u00dcCHER.example", to, true},
		{peer, `odd"@"name@spam.example`, to, true},
		{peer, "x@[192.0.2.1]", to, false},
		{"192.0.2.255", from, to, true},
		{"::ffff:192.0.2.1", "", to, true},
		{"192.0.3.0", from, to, false},
		{"198.51.100.7", from, to, true},
		{"198.51.100.8", from, to, false},
		{"2001:db8:ffff::1", from, to, true},
		{"2001:db9::1", from, to, false},
		{peer, from, "shop@all.example", true},
		{"", "", "SHOP@all.example", true},
		{peer, from, "shop+x@all.example", true},
		{peer, from, "shops@all.example", false},
		{peer, from, "me+leaked@here.example", true},
		{peer, from, "me+leaked@twin.example", true},
		{peer, from, "me+other@here.example", false},
		{peer, "x@ex.example", to, true},
		{peer, "x@ex.example", "me+tag@twin.example", true},
		{peer, "x@ex.example", "you@here.example", false},
		{peer, "x@ex.example", "any@all.example", false},
	} {
		err, want := h.attempt(c.peer, c.from, c.to), error(nil)
		if c.blocked {
			want = store.ErrBlocked
		}
		h.fails(fmt.Sprintf("%+v", c), err, want)
	}
	// Where nobody gets mail, that is what is said.
	h.fails("an unknown recipient", h.attempt(peer, "x@spam.example", "nobody@here.example"), store.ErrNoMaildrop)
	for _, e := range []store.Edit{block("spam.example"), block("", "Shop@all.example"), block("ex.example", "me@here.example")} {
		e.Op = store.RemoveBlock
		h.apply(e)
	}
	h.check(h.attempt(peer, "x@spam.example", to))
	h.check(h.attempt(peer, from, "shop@all.example"))
	h.check(h.attempt(peer, "x@ex.example", to))
}

func (h *harness) blockCounts() {
	h.accounts("me@here.example")
	h.apply(block("spam.example"), block("192.0.2.0/24"), block("", "me+x@here.example"), block("never.example", "me@here.example"))
	for range 3 {
		h.fails("a sender", h.attempt("", "a@b.spam.example", "me@here.example"), store.ErrBlocked)
	}
	h.fails("a peer", h.attempt("192.0.2.1", "", "me@here.example"), store.ErrBlocked)
	_, err := h.s.Resolve(h.ctx(), store.Attempt{From: "a@spam.example", To: "me+x@here.example"})
	h.check(err) // a look-up, of no session
	want := map[string]uint64{" me+x@here.example": 0, "192.0.2.0/24 ": 1, "never.example me@here.example": 0, "spam.example ": 3}
	moments := []string{"now", "after a restart"}
	if h.c.Reopen == nil {
		moments = moments[:1]
	}
	for i, when := range moments {
		if i > 0 {
			h.s = h.c.Reopen(h.T, h.s)
		}
		d, err := h.s.Directory(h.ctx())
		h.check(err)
		if len(d.Blocks) != len(want) {
			h.Fatalf("%s: %d blocks", when, len(d.Blocks))
		}
		for i, b := range d.Blocks {
			n, ok := want[b.Sender+" "+b.Recipient]
			if !ok || b.Refused != n || b.LastUsed.IsZero() != (n == 0) || b.Created.IsZero() {
				h.Errorf("%s: %+v", when, b)
			}
			if i > 0 && d.Blocks[i-1].Sender > b.Sender {
				h.Errorf("%s: %s stands behind %s", when, b.Sender, d.Blocks[i-1].Sender)
			}
		}
	}
	// What was counted goes with the block.
	e := block("spam.example")
	e.Op = store.RemoveBlock
	h.apply(e)
	h.apply(block("spam.example"))
	d, err := h.s.Directory(h.ctx())
	h.check(err)
	if last := d.Blocks[len(d.Blocks)-1]; last.Sender != "spam.example" || last.Refused != 0 {
		h.Errorf("a block that was made again: %+v", last)
	}
}

func (h *harness) blockErrors() {
	h.accounts("me@here.example")
	h.apply(block("spam.example"), block("10.0.0.0/8"), block("", "x@here.example"))
	remove := func(e store.Edit) store.Edit { e.Op = store.RemoveBlock; return e }
	for _, c := range []struct {
		edit store.Edit
		want store.EditCode
	}{
		{block("Spam.example."), store.CodeExists},
		{block("10.1.2.3/8"), store.CodeExists},
		{block("", "X@here.example"), store.CodeExists},
		{block(""), store.CodeInvalid},
		{block("a.example", "x@here.example", "y@here.example"), store.CodeInvalid},
		{block("no domain"), store.CodeInvalid},
		{block("10.0.0.0/33"), store.CodeInvalid},
		{block("0.0.0.0/0"), store.CodeInvalid},
		{block("192.0.2.256"), store.CodeInvalid},
		{block("192.0.2"), store.CodeInvalid},
		{block("a b@"), store.CodeInvalid},
		{block("a.example", "me"), store.CodeInvalid},
		{block("a.example", "me@elsewhere.example"), store.CodeInvalid},
		{remove(block("other.example")), store.CodeMissing},
		{remove(block("spam.example", "me@here.example")), store.CodeMissing},
		{remove(block("", "y@here.example")), store.CodeMissing},
	} {
		_, err := h.s.Apply(h.ctx(), 0, []store.Edit{c.edit})
		h.editError(fmt.Sprintf("%+v", c.edit), err, c.want)
	}
}
