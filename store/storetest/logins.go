package storetest

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

func (h *harness) loginNames() {
	h.accounts("me@here.example", "both@here.example", "both@other.example", "jürgen@here.example", "new@bücher.example")
	for _, name := range []string{
		"me", "ME", "Me@HERE.example", "both@other.example", "jürgen", "JÜRGEN@here.example", "new@BÜCHER.example", "NEW@xn--bcher-kva.example",
	} {
		m, err := h.tryOpen(name, Password)
		if err != nil {
			h.Errorf("login as %q: %v", name, err)
			continue
		}
		h.check(m.Close())
	}
	for _, name := range []string{"both", "m", "me@", "@here.example", "here.example", " me", "me\xff", "both@here.example@"} {
		_, err := h.tryOpen(name, Password)
		h.fails(fmt.Sprintf("login as %q", name), err, store.ErrCredential)
	}
	h.apply(store.Edit{Op: store.RemoveAccount, Address: "both@other.example"})
	h.open("both")
}

// addApp gives an account an app password and returns it.
func (h *harness) addApp(address, name string) string {
	h.Helper()
	password := secret.Generate()
	h.apply(store.Edit{Op: store.AddAppPassword, Address: address, Name: name, Hash: secret.AppHash(password)})
	return password
}

func (h *harness) appPasswords() {
	h.accounts("me@here.example", "you@here.example")
	phone, laptop := h.addApp("me@here.example", "phone"), h.addApp("me@here.example", "laptop of Zoë")
	list := func() []store.AppPassword {
		d, err := h.s.Directory(h.ctx())
		h.check(err)
		return d.Accounts[0].AppPasswords
	}
	fetch := func() *store.Fetch {
		d, err := h.s.Directory(h.ctx())
		h.check(err)
		return d.Accounts[0].LastFetch
	}
	if f := fetch(); f != nil {
		h.Errorf("before any login last fetched: %+v", f)
	}
	before := list()
	if len(before) != 2 || before[0].Name != "laptop of Zoë" || before[1].Name != "phone" ||
		before[0].Created.IsZero() || !before[0].LastUsed.IsZero() || !before[1].LastUsed.IsZero() {
		h.Errorf("app passwords are %+v", before)
	}
	m, err := h.tryOpen("me", phone)
	h.check(err)
	if after := list(); after[1].LastUsed.IsZero() || !after[0].LastUsed.IsZero() {
		h.Errorf("after a login by phone: %+v", after)
	}
	if f := fetch(); f == nil || f.At.IsZero() || f.App != "phone" || f.Mechanism == "" {
		h.Errorf("after a login by phone last fetched: %+v", f)
	}
	_, err = h.tryOpen("you", phone)
	h.fails("another account's app password", err, store.ErrCredential)

	h.apply(store.Edit{Op: store.RemoveAppPassword, Address: "me@here.example", Name: "laptop of Zoë"})
	select {
	case <-m.Lost():
		h.Error("removing another app password ended the session")
	default:
	}
	h.apply(store.Edit{Op: store.RemoveAppPassword, Address: "me@here.example", Name: "phone"})
	<-m.Lost()
	h.fails("commit of its session", m.Commit(h.ctx(), nil), store.ErrLost)
	for _, password := range []string{phone, laptop} {
		_, err = h.tryOpen("me", password)
		h.fails("a removed app password", err, store.ErrCredential)
	}
	h.addApp("me@here.example", "phone")
	_, err = h.tryOpen("me", phone)
	h.fails("a removed app password, with a new one of its name", err, store.ErrCredential)
	if now := list(); len(now) != 1 || !now[0].LastUsed.IsZero() {
		h.Errorf("the new one is %+v", now)
	}
	h.open("me") // at once, though the lost session was not closed
}

func (h *harness) appPasswordErrors() {
	h.accounts("me@here.example")
	h.addApp("me@here.example", "phone")
	hash := secret.AppHash(secret.Generate())
	for _, c := range []struct {
		edit store.Edit
		want store.EditCode
	}{
		{store.Edit{Op: store.AddAppPassword, Address: "me@here.example", Name: "phone", Hash: hash}, store.CodeExists},
		{store.Edit{Op: store.AddAppPassword, Address: "x@here.example", Name: "phone", Hash: hash}, store.CodeMissing},
		{store.Edit{Op: store.RemoveAppPassword, Address: "me@here.example", Name: "Phone"}, store.CodeMissing},
		{store.Edit{Op: store.AddAppPassword, Address: "me@here.example", Name: "x", Hash: h.hash}, store.CodeInvalid},
		{store.Edit{Op: store.AddAppPassword, Address: "me@here.example", Name: "", Hash: hash}, store.CodeInvalid},
		{store.Edit{Op: store.AddAppPassword, Address: "me@here.example", Name: "a\nb", Hash: hash}, store.CodeInvalid},
		{store.Edit{Op: store.AddAppPassword, Address: "me@here.example", Name: " a", Hash: hash}, store.CodeInvalid},
		{store.Edit{Op: store.AddAppPassword, Address: "me@here.example", Name: strings.Repeat("x", 65), Hash: hash}, store.CodeInvalid},
		{store.Edit{Op: store.AddAccount, Address: "y@here.example", Hash: h.hash, SCRAM: "SCRAM-SHA-256$x"}, store.CodeInvalid},
		{store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: h.hash, SCRAM: "x"}, store.CodeInvalid},
	} {
		_, err := h.s.Apply(h.ctx(), 0, []store.Edit{c.edit})
		h.editError(fmt.Sprintf("%+v", c.edit), err, c.want)
	}
	var edits []store.Edit
	for i := range store.MaxAppPasswords {
		edits = append(edits, store.Edit{Op: store.AddAppPassword, Address: "me@here.example", Name: fmt.Sprint(i), Hash: hash})
	}
	_, err := h.s.Apply(h.ctx(), 0, edits)
	h.editError("one app password too many", err, store.CodeInvalid)
}

func (h *harness) passwordEndsSession() {
	h.accounts("me@here.example", "you@here.example")
	h.deliver(letter, "me@here.example")
	m, yours := h.open("me@here.example"), h.open("you@here.example")
	hash, err := h.c.Hash("new secret")
	h.check(err)
	h.apply(store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: hash})
	<-m.Lost()
	select {
	case <-yours.Lost():
		h.Error("another account's session was ended")
	default:
	}
	h.fails("commit of a lost maildrop", m.Commit(h.ctx(), []int{0}), store.ErrLost)
	_, err = h.tryOpen("me@here.example", Password)
	h.fails("the password of before", err, store.ErrCredential)
	again, err := h.tryOpen("me@here.example", "new secret") // at once, though the lost session was not closed
	h.check(err)
	if len(again.Messages()) != 1 {
		h.Errorf("%d messages", len(again.Messages()))
	}
	h.check(m.Close())
	_, err = h.tryOpen("me@here.example", "new secret")
	h.fails("a login beside the new session", err, store.ErrInUse)
	h.check(again.Close())
}

// exchange logs in by SCRAM.
func (h *harness) exchange(name, password, authz string) (store.Maildrop, error) {
	c, err := scram.SHA256.NewClient(name, password, authz)
	h.check(err)
	conv := c.NewConversation()
	m, err := h.s.Open(h.ctx(), store.Login{
		Session: "p1", Peer: netip.MustParseAddr("127.0.0.1"), Mechanism: "SCRAM-SHA-256",
		Exchange: func(_ context.Context, server []byte) ([]byte, error) {
			answer, err := conv.Step(string(server))
			return []byte(answer), err
		},
	})
	if err == nil && !conv.Valid() {
		h.Error("the client does not know yet that it is logged in")
	}
	return m, err
}

func (h *harness) scram() {
	c, err := scram.SHA256.NewClient("", Password, "")
	h.check(err)
	k, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "saltsaltsaltsalt", Iters: 4096})
	h.check(err)
	b64 := base64.StdEncoding.EncodeToString
	keys := fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", k.Iters, b64([]byte(k.Salt)), b64(k.StoredKey), b64(k.ServerKey))
	h.apply(
		store.Edit{Op: store.AddAccount, Address: "me@here.example", Hash: h.hash, SCRAM: keys},
		store.Edit{Op: store.AddAccount, Address: "plain@here.example", Hash: h.hash},
		store.Edit{Op: store.AddAccount, Address: "off@here.example", Hash: h.hash, SCRAM: keys},
		store.Edit{Op: store.DisableAccount, Address: "off@here.example"},
	)
	d, err := h.s.Directory(h.ctx())
	h.check(err)
	h.equal("who has keys", []bool{d.Accounts[0].SCRAM, d.Accounts[2].SCRAM}, []bool{true, false})
	app := h.addApp("me@here.example", "phone")
	m, err := h.exchange("ME@here.example", Password, "me@HERE.example")
	h.check(err)
	_, err = h.exchange("me@here.example", Password, "")
	h.fails("SCRAM beside a session", err, store.ErrInUse)
	for what, l := range map[string][3]string{
		"wrong password": {"me@here.example", "x"}, "app password": {"me@here.example", app}, "local part": {"me", Password},
		"no keys": {"plain@here.example", Password}, "disabled": {"off@here.example", Password},
		"for another": {"me@here.example", Password, "plain@here.example"},
	} {
		_, err = h.exchange(l[0], l[1], l[2])
		h.fails(what, err, store.ErrCredential)
	}
	cancelled := fmt.Errorf("cancelled")
	_, err = h.s.Open(h.ctx(), store.Login{
		Mechanism: "SCRAM-SHA-256", Exchange: func(context.Context, []byte) ([]byte, error) { return nil, cancelled },
	})
	h.fails("cancelled", err, cancelled)
	h.apply(store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: h.hash})
	<-m.Lost()
	_, err = h.exchange("me@here.example", Password, "")
	h.fails("after a password without keys", err, store.ErrCredential)
}

func (h *harness) takeOver() {
	if h.c.Advance == nil {
		h.Skip("this implementation's clock can't be moved")
	}
	h.accounts("me@here.example")
	for range 2 {
		h.deliver(letter, "me@here.example")
	}
	m := h.open("me@here.example")
	h.c.Advance(TakeoverAfter - time.Second)
	m.Active()
	h.c.Advance(TakeoverAfter - time.Second)
	_, err := h.tryOpen("me@here.example", Password)
	h.fails("beside a session that moved", err, store.ErrInUse)

	r, err := m.Retrieve(h.ctx(), 0)
	h.check(err)
	h.c.Advance(time.Hour)
	_, err = h.tryOpen("me@here.example", Password)
	h.fails("beside a session that reads a message", err, store.ErrInUse)
	_, err = io.Copy(io.Discard, r)
	h.check(err)
	h.check(r.Close())
	_, err = h.tryOpen("me@here.example", Password)
	h.fails("beside a session that has just read one", err, store.ErrInUse)

	h.c.Advance(TakeoverAfter)
	_, err = h.tryOpen("me@here.example", "wrong")
	h.fails("a wrong password", err, store.ErrCredential)
	next := h.open("me@here.example")
	<-m.Lost()
	h.fails("the loser's commit", m.Commit(h.ctx(), []int{0, 1}), store.ErrLost)
	_, err = m.Retrieve(h.ctx(), 0)
	h.fails("the loser's reading", err, store.ErrLost)
	h.check(m.Close()) // frees nothing that is not its own
	_, err = h.tryOpen("me@here.example", Password)
	h.fails("beside the session that took over", err, store.ErrInUse)
	if len(next.Messages()) != 2 {
		h.Errorf("%d messages", len(next.Messages()))
	}
	h.check(next.Commit(h.ctx(), []int{1}))
	h.check(next.Close())
	h.equal("left", len(h.fetch("me@here.example")), 1)
}
