// Package storetest is the conformance suite for every implementation of the store's interfaces.
package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// Store is what is tested: the three interfaces over one store.
type Store interface {
	store.Deliverer
	store.Pickup
	store.Admin
}

// Config says how to reach an implementation.
type Config struct {
	// Open makes an empty store that lives as long as the test. It keeps a history.
	Open func(t *testing.T) Store
	// Hash makes an account's hash from a password.
	Hash func(password string) (string, error)
	// Reopen stops the store in an orderly way and opens it again; nil when it can't be.
	Reopen func(t *testing.T, s Store) Store
	// Advance moves the clock of a store that Open made; nil when it can't be. The store lets a login take over after
	// TakeoverAfter.
	Advance func(by time.Duration)
}

// TakeoverAfter is how long a session must be silent in a store under test before a login takes over from it, where
// Config.Advance is given.
const TakeoverAfter = time.Minute

// Password is that of every account that the suite makes.
const Password = "open sesame "

// Run runs the suite.
func Run(t *testing.T, c Config) {
	for _, test := range []struct {
		name string
		run  func(*harness)
	}{
		{"DeliverAndFetch", (*harness).deliverAndFetch},
		{"SeveralRecipients", (*harness).severalRecipients},
		{"SameMaildropTwice", (*harness).sameMaildropTwice},
		{"DiscardedDraft", (*harness).discardedDraft},
		{"CommitTwice", (*harness).commitTwice},
		{"CommitToRemovedAccount", (*harness).commitToRemovedAccount},
		{"Login", (*harness).login},
		{"LoginNames", (*harness).loginNames},
		{"AppPasswords", (*harness).appPasswords},
		{"AppPasswordErrors", (*harness).appPasswordErrors},
		{"PasswordEndsSession", (*harness).passwordEndsSession},
		{"SCRAM", (*harness).scram},
		{"Lock", (*harness).lock},
		{"TakeOver", (*harness).takeOver},
		{"DeleteOnlyAtCommit", (*harness).deleteOnlyAtCommit},
		{"CommitBounds", (*harness).commitBounds},
		{"SnapshotIsFixed", (*harness).snapshotIsFixed},
		{"AccountGoneEndsSession", (*harness).accountGone},
		{"Resolve", (*harness).resolve},
		{"PostmasterAlways", (*harness).postmasterAlways},
		{"ResolveUnready", (*harness).resolveUnready},
		{"Blocks", (*harness).blocks},
		{"BlockCounts", (*harness).blockCounts},
		{"BlockErrors", (*harness).blockErrors},
		{"EditsAllOrNone", (*harness).editsAllOrNone},
		{"EditErrors", (*harness).editErrors},
		{"RemoveWithMail", (*harness).removeWithMail},
		{"Quotas", (*harness).quotas},
		{"MoveInAndOut", (*harness).moveInAndOut},
		{"BackUp", (*harness).backUp},
		{"Trace", (*harness).trace},
		{"Reopen", (*harness).reopen},
		{"ManyAtOnce", (*harness).manyAtOnce},
		{"IDsAscend", (*harness).idsAscend},
	} {
		t.Run(test.name, func(t *testing.T) {
			hash, err := c.Hash(Password)
			if err != nil {
				t.Fatal(err)
			}
			test.run(&harness{T: t, c: c, s: c.Open(t), hash: hash})
		})
	}
}

func (h *harness) deliverAndFetch() {
	h.accounts("me@here.example")
	bodies := []string{
		letter, "", "\r\n", ".\r\n..\r\n", "a: b\r\n\r\n\x00\xff\xfe\r\n",
		"x: y\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef\r\n", 4000),
	}
	for _, b := range bodies {
		h.deliver(b, "me@here.example")
	}
	got := h.fetch("me@here.example")
	if len(got) != len(bodies) {
		h.Fatalf("%d messages, want %d", len(got), len(bodies))
	}
	for i, b := range bodies {
		h.equal(fmt.Sprintf("message %d", i), got[i], whole("me@here.example", b))
	}
}

func (h *harness) severalRecipients() {
	h.accounts("a@here.example", "b@here.example")
	id := h.deliver(letter, "a@here.example", "b@here.example")
	for _, name := range []string{"a@here.example", "b@here.example"} {
		m := h.open(name)
		if len(m.Messages()) != 1 || m.Messages()[0].ID != id || m.Messages()[0].UIDL() != id.String() {
			h.Fatalf("%s has %v", name, m.Messages())
		}
		h.equal(name, h.retrieve(m, 0), whole(name, letter))
		m.Close()
	}
	m := h.open("a@here.example")
	h.check(m.Commit(h.ctx(), []int{0}))
	m.Close()
	h.equal("a afterwards", h.fetch("a@here.example"), []string(nil))
	h.equal("b keeps it", h.fetch("b@here.example"), []string{whole("b@here.example", letter)})
}

func (h *harness) sameMaildropTwice() {
	h.accounts("me@here.example")
	h.apply(store.Edit{Op: store.AddAlias, Address: "info@here.example", Targets: []string{"me@here.example"}})
	h.deliver(letter, "info@here.example", "me@here.example")
	h.equal("once, with the first entry", h.fetch("me@here.example"), []string{whole("info@here.example", letter)})
}

func (h *harness) discardedDraft() {
	h.accounts("me@here.example")
	d := h.draft(letter)
	d.Discard()
	d.Discard()
	if err := d.Commit(h.ctx(), h.final("me@here.example")); err == nil {
		h.Error("a discarded draft was committed")
	}
	if _, err := d.Write([]byte("x")); err == nil {
		h.Error("a discarded draft took octets")
	}
	h.equal("maildrop", len(h.fetch("me@here.example")), 0)
}

func (h *harness) commitTwice() {
	h.accounts("me@here.example")
	d := h.draft(letter)
	h.check(d.Commit(h.ctx(), h.final("me@here.example")))
	h.check(d.Commit(h.ctx(), h.final("me@here.example")))
	d.Discard()
	h.equal("maildrop", h.fetch("me@here.example"), []string{whole("me@here.example", letter)})
}

func (h *harness) commitToRemovedAccount() {
	h.accounts("me@here.example", "gone@here.example")
	d := h.draft(letter)
	f := h.final("me@here.example", "gone@here.example")
	h.apply(store.Edit{Op: store.RemoveAccount, Address: "gone@here.example"})
	err := d.Commit(h.ctx(), f)
	if err == nil || !store.Temporary(err) {
		h.Errorf("commit for a removed account: %v, want a temporary error", err)
	}
	h.equal("nobody has it", len(h.fetch("me@here.example")), 0)
}

func (h *harness) login() {
	h.accounts("me@here.example")
	for _, name := range []string{"me@here.example", "ME@Here.Example", "me@here.example."} {
		m, err := h.tryOpen(name, Password)
		h.check(err)
		m.Close()
	}
	for _, l := range [][2]string{
		{"me@here.example", "open sesame"}, {"me@here.example", ""}, {"you@here.example", Password},
		{"you@here.example", ""}, {"", ""}, {"me@", Password}, {"me\x00@here.example", Password},
	} {
		_, err := h.tryOpen(l[0], l[1])
		h.fails(fmt.Sprintf("login %q", l), err, store.ErrCredential)
	}
	h.apply(store.Edit{Op: store.DisableAccount, Address: "me@here.example"})
	_, err := h.tryOpen("me@here.example", Password)
	h.fails("disabled", err, store.ErrCredential)
}

func (h *harness) lock() {
	h.accounts("me@here.example", "you@here.example")
	m := h.open("me@here.example")
	_, err := h.tryOpen("me@here.example", Password)
	h.fails("second login", err, store.ErrInUse)
	_, err = h.tryOpen("me@here.example", "wrong")
	h.fails("second login with a wrong password", err, store.ErrCredential)
	h.open("you@here.example")
	h.check(m.Close())
	h.check(m.Close())
	h.open("me@here.example")
}

func (h *harness) deleteOnlyAtCommit() {
	h.accounts("me@here.example")
	for i := range 5 {
		h.deliver(fmt.Sprintf("n: %d\r\n\r\n", i), "me@here.example")
	}
	m := h.open("me@here.example")
	h.check(m.Close())
	m = h.open("me@here.example")
	if len(m.Messages()) != 5 {
		h.Fatalf("%d messages after a session without commit", len(m.Messages()))
	}
	first, last := m.Messages()[0].ID, m.Messages()[4].ID
	h.check(m.Commit(h.ctx(), []int{3, 1, 2}))
	h.check(m.Close())
	m = h.open("me@here.example")
	if got := m.Messages(); len(got) != 2 || got[0].ID != first || got[1].ID != last {
		h.Fatalf("left: %v", got)
	}
	h.equal("the last", h.retrieve(m, 1), whole("me@here.example", "n: 4\r\n\r\n"))
}

func (h *harness) commitBounds() {
	h.accounts("me@here.example")
	h.deliver(letter, "me@here.example")
	m := h.open("me@here.example")
	for _, bad := range [][]int{{-1}, {1}, {0, 0}, {0, 1}} {
		if err := m.Commit(h.ctx(), bad); err == nil {
			h.Errorf("deleting %v was taken", bad)
		}
	}
	if _, err := m.Retrieve(h.ctx(), 1); err == nil {
		h.Error("message at index 1 of 1 was retrieved")
	}
	m.Close()
	if err := m.Commit(h.ctx(), []int{0}); err == nil {
		h.Error("a closed maildrop deleted")
	}
	h.equal("still there", len(h.fetch("me@here.example")), 1)
}

func (h *harness) snapshotIsFixed() {
	h.accounts("me@here.example")
	h.deliver("n: 1\r\n\r\n", "me@here.example")
	m := h.open("me@here.example")
	h.deliver("n: 2\r\n\r\n", "me@here.example")
	if len(m.Messages()) != 1 {
		h.Fatalf("%d messages in a snapshot of 1", len(m.Messages()))
	}
	h.check(m.Commit(h.ctx(), []int{0}))
	m.Close()
	h.equal("what came meanwhile", h.fetch("me@here.example"), []string{whole("me@here.example", "n: 2\r\n\r\n")})
}

func (h *harness) accountGone() {
	h.accounts("me@here.example")
	h.deliver(letter, "me@here.example")
	m := h.open("me@here.example")
	h.apply(store.Edit{Op: store.DisableAccount, Address: "me@here.example"})
	<-m.Lost()
	h.fails("commit of a lost maildrop", m.Commit(h.ctx(), []int{0}), store.ErrLost)
	m.Close()
	h.apply(store.Edit{Op: store.EnableAccount, Address: "me@here.example"})
	h.equal("nothing was deleted", len(h.fetch("me@here.example")), 1)
}

func (h *harness) idsAscend() {
	h.accounts("me@here.example")
	var last store.ID
	for range 100 {
		d, err := h.s.Begin(h.ctx(), store.Envelope{})
		h.check(err)
		id := d.ID()
		if bytes.Compare(id[:], last[:]) <= 0 {
			h.Fatalf("%s after %s", id, last)
		}
		last = id
		d.Discard()
	}
}

func (h *harness) reopen() {
	if h.c.Reopen == nil {
		h.Skip("this implementation can't be reopened")
	}
	h.accounts("me@here.example", "you@here.example")
	h.deliver("n: 1\r\n\r\n", "me@here.example", "you@here.example")
	h.deliver("n: 2\r\n\r\n", "me@here.example")
	m := h.open("me@here.example")
	h.check(m.Commit(h.ctx(), []int{0}))
	m.Close()
	m = h.open("me@here.example")
	uidl := m.Messages()[0].UIDL()
	m.Close()
	before, err := h.s.Directory(h.ctx())
	h.check(err)
	h.s = h.c.Reopen(h.T, h.s)
	after, err := h.s.Directory(h.ctx())
	h.check(err)
	h.equal("directory", after, before)
	m = h.open("me@here.example")
	if len(m.Messages()) != 1 || m.Messages()[0].UIDL() != uidl {
		h.Fatalf("messages %v, want one with UIDL %s", m.Messages(), uidl)
	}
	h.equal("message", h.retrieve(m, 0), whole("me@here.example", "n: 2\r\n\r\n"))
	h.equal("yours", h.fetch("you@here.example"), []string{whole("you@here.example", "n: 1\r\n\r\n")})
	next, err := h.s.Begin(h.ctx(), store.Envelope{})
	h.check(err)
	defer next.Discard()
	if next.ID().String() <= uidl {
		h.Errorf("id %s after reopening is not behind %s", next.ID(), uidl)
	}
}
