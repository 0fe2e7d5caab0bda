package storetest

import (
	"errors"
	"fmt"

	"example.org/letterbox/store"
)

func (h *harness) resolve() {
	h.accounts("first@here.example", "me@here.example", "off@here.example", "solo@other.example")
	h.apply(
		store.Edit{Op: store.AddAlias, Address: "info@here.example", Targets: []string{"me@here.example", "first@here.example"}},
		store.Edit{Op: store.AddAlias, Address: "deep@here.example", Targets: []string{"info@here.example"}},
		store.Edit{Op: store.AddAlias, Address: "quiet@here.example", Targets: []string{"off@here.example"}},
		store.Edit{Op: store.AddAlias, Address: "abuse@other.example", Targets: []string{"solo@other.example"}},
		store.Edit{Op: store.AddAlias, Address: "@twin.example", Targets: []string{"@here.example"}},
		store.Edit{Op: store.AddAlias, Address: "list@alias-only.example", Targets: []string{"me@here.example"}},
		store.Edit{Op: store.SetCatchAll, Address: "all.example", Targets: []string{"me@here.example"}},
		store.Edit{Op: store.DisableAccount, Address: "off@here.example"},
	)
	dir, err := h.s.Directory(h.ctx())
	h.check(err)
	drop := map[string]store.MaildropID{}
	for _, a := range dir.Accounts {
		drop[a.Address] = a.Maildrop
	}
	me, first, solo := drop["me@here.example"], drop["first@here.example"], drop["solo@other.example"]
	for to, want := range map[string][]store.MaildropID{
		"me@here.example":               {me},
		"ME@HERE.Example.":              {me},
		"me+tag@here.example":           {me},
		"me+a+b@here.example":           {me},
		"info@here.example":             {me, first},
		"info+x@here.example":           {me, first},
		"deep@here.example":             {me, first},
		"me@twin.example":               {me},
		"info+x@twin.example":           {me, first},
		"anything@all.example":          {me},
		"+odd@all.example":              {me},
		"postmaster@all.example":        {me},
		"postmaster@here.example":       {first},
		"Abuse@here.example":            {first},
		"postmaster+x@here.example":     {first},
		"abuse@other.example":           {solo},
		"postmaster@other.example":      {first},
		"postmaster@twin.example":       {first},
		"postmaster@alias-only.example": {first},
	} {
		target, err := h.s.Resolve(h.ctx(), store.Attempt{To: to})
		if err != nil || fmt.Sprint(target.Maildrops) != fmt.Sprint(want) {
			h.Errorf("%s: %v %v, want %v", to, target.Maildrops, err, want)
		}
	}
	for to, want := range map[string]error{
		"nobody@here.example":       store.ErrNoMaildrop,
		"nobody@twin.example":       store.ErrNoMaildrop,
		"@here.example":             store.ErrNoMaildrop,
		"no-at-sign":                store.ErrNoMaildrop,
		"+me@here.example":          store.ErrNoMaildrop,
		"me@elsewhere.example":      store.ErrNotLocal,
		"postmaster@elsewhere.test": store.ErrNotLocal,
		"off@here.example":          store.ErrDisabled,
		"off+x@here.example":        store.ErrDisabled,
		"quiet@here.example":        store.ErrDisabled,
	} {
		_, err := h.s.Resolve(h.ctx(), store.Attempt{To: to})
		h.fails(to, err, want)
	}
}

func (h *harness) postmasterAlways() {
	h.accounts("old@here.example", "new@other.example")
	off := func(op store.Op, address string) { h.apply(store.Edit{Op: op, Address: address}) }
	off(store.DisableAccount, "old@here.example")
	dir, err := h.s.Directory(h.ctx())
	h.check(err)
	for _, to := range []string{"postmaster@here.example", "abuse@other.example"} {
		h.equal(to, h.drops(to), []store.MaildropID{dir.Accounts[0].Maildrop})
	}
	off(store.DisableAccount, "new@other.example")
	_, err = h.s.Resolve(h.ctx(), store.Attempt{To: "postmaster@here.example"})
	if err == nil || !store.Temporary(err) {
		h.Errorf("postmaster while all accounts are disabled: %v, want a temporary error", err)
	}
}

func (h *harness) resolveUnready() {
	_, err := h.s.Resolve(h.ctx(), store.Attempt{To: "me@here.example"})
	if err == nil || !store.Temporary(err) {
		h.Errorf("without an account: %v, want a temporary error", err)
	}
	h.accounts("me@here.example", "gone@here.example")
	h.apply(
		store.Edit{Op: store.AddAlias, Address: "a@here.example", Targets: []string{"me@here.example", "gone@here.example"}},
		store.Edit{Op: store.SetCatchAll, Address: "all.example", Targets: []string{"gone@here.example"}},
		store.Edit{Op: store.RemoveAccount, Address: "gone@here.example"},
	)
	for _, to := range []string{"a@here.example", "x@all.example"} {
		_, err := h.s.Resolve(h.ctx(), store.Attempt{To: to})
		if err == nil || !store.Temporary(err) {
			h.Errorf("%s, whose target is gone: %v, want a temporary error", to, err)
		}
	}
}

func (h *harness) editsAllOrNone() {
	h.accounts("me@here.example")
	before, err := h.s.Directory(h.ctx())
	h.check(err)
	_, err = h.s.Apply(h.ctx(), 0, []store.Edit{
		{Op: store.AddAccount, Address: "new@here.example", Hash: h.hash},
		{Op: store.AddAlias, Address: "x@here.example", Targets: []string{"new@here.example"}},
		{Op: store.AddAccount, Address: "me@here.example", Hash: h.hash},
	})
	h.editError("an account that exists", err, store.CodeExists)
	after, err := h.s.Directory(h.ctx())
	h.check(err)
	h.equal("directory", after, before)
	_, err = h.s.Apply(h.ctx(), before.Revision+1, []store.Edit{{Op: store.DisableAccount, Address: "me@here.example"}})
	h.editError("another revision", err, store.CodeRevision)
	revision, err := h.s.Apply(h.ctx(), before.Revision, []store.Edit{{Op: store.DisableAccount, Address: "me@here.example"}})
	h.check(err)
	if revision <= before.Revision {
		h.Errorf("revision %d after %d", revision, before.Revision)
	}
}

func (h *harness) editError(what string, err error, want store.EditCode) {
	h.Helper()
	var e *store.EditError
	if !errors.As(err, &e) || e.Code != want || e.Text == "" {
		h.Errorf("%s: %v, want an EditError %s", what, err, want)
	}
}

func (h *harness) editErrors() {
	h.accounts("me@here.example", "you@here.example")
	h.apply(store.Edit{Op: store.AddAlias, Address: "a@here.example", Targets: []string{"me@here.example"}})
	h.apply(store.Edit{Op: store.AddAlias, Address: "@twin.example", Targets: []string{"@here.example"}})
	for _, c := range []struct {
		edit store.Edit
		want store.EditCode
	}{
		{store.Edit{Op: store.AddAccount, Address: "a@here.example", Hash: h.hash}, store.CodeExists},
		{store.Edit{Op: store.AddAccount, Address: "plus+tag@here.example", Hash: h.hash}, store.CodeInvalid},
		{store.Edit{Op: store.AddAccount, Address: "no-domain", Hash: h.hash}, store.CodeInvalid},
		{store.Edit{Op: store.AddAccount, Address: "x@here.example", Hash: "plain"}, store.CodeInvalid},
		{store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: ""}, store.CodeInvalid},
		{store.Edit{Op: store.SetPassword, Address: "x@here.example", Hash: h.hash}, store.CodeMissing},
		{store.Edit{Op: store.RemoveAccount, Address: "x@here.example"}, store.CodeMissing},
		{store.Edit{Op: store.AddAlias, Address: "me@here.example", Targets: []string{"you@here.example"}}, store.CodeExists},
		{store.Edit{Op: store.AddAlias, Address: "b@here.example", Targets: []string{"x@elsewhere.example"}}, store.CodeInvalid},
		{store.Edit{Op: store.AddAlias, Address: "b@here.example"}, store.CodeInvalid},
		{store.Edit{Op: store.AddAlias, Address: "b@here.example", Targets: []string{"b@here.example"}}, store.CodeInvalid},
		{store.Edit{Op: store.AddAlias, Address: "@new.example", Targets: []string{"@elsewhere.example"}}, store.CodeInvalid},
		{store.Edit{Op: store.AddAlias, Address: "@here.example", Targets: []string{"@twin.example"}}, store.CodeInvalid},
		{store.Edit{Op: store.RemoveAlias, Address: "b@here.example"}, store.CodeMissing},
		{store.Edit{Op: store.ClearCatchAll, Address: "here.example"}, store.CodeMissing},
		{store.Edit{Op: store.SetCatchAll, Address: "here.example", Targets: []string{"x@elsewhere.example"}}, store.CodeInvalid},
		{store.Edit{Op: "paint-it-blue", Address: "me@here.example"}, store.CodeInvalid},
	} {
		_, err := h.s.Apply(h.ctx(), 0, []store.Edit{c.edit})
		h.editError(fmt.Sprintf("%+v", c.edit), err, c.want)
	}
	h.apply(store.Edit{Op: store.AddAlias, Address: "b@here.example", Targets: []string{"a@here.example"}})
	_, err := h.s.Apply(h.ctx(), 0, []store.Edit{{Op: store.AddAlias, Address: "a@here.example", Targets: []string{"b@here.example"}}})
	h.editError("a circle of aliases", err, store.CodeInvalid)
}

func (h *harness) removeWithMail() {
	h.accounts("me@here.example", "you@here.example")
	h.deliver(letter, "me@here.example", "you@here.example")
	_, err := h.s.Apply(h.ctx(), 0, []store.Edit{{Op: store.RemoveAccount, Address: "me@here.example"}})
	h.editError("removing an account with mail", err, store.CodeNotEmpty)
	h.equal("mail", len(h.fetch("me@here.example")), 1)
	h.apply(store.Edit{Op: store.RemoveAccount, Address: "me@here.example", DiscardMail: true})
	_, err = h.tryOpen("me@here.example", Password)
	h.fails("login to a removed account", err, store.ErrCredential)
	h.accounts("me@here.example")
	h.equal("a new account of that name", len(h.fetch("me@here.example")), 0)
	h.equal("the other recipient", len(h.fetch("you@here.example")), 1)
}
