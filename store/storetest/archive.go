package storetest

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"example.org/letterbox/store"
)

// code wants an *EditError of a class.
func (h *harness) code(what string, err error, want store.EditCode) {
	h.Helper()
	var e *store.EditError
	if !errors.As(err, &e) || e.Code != want {
		h.Errorf("%s: got error %v, want the code %s", what, err, want)
	}
}

// moveInAndOut: what is imported comes out by POP3 under the UIDL that it brought, and all that waits can be copied.
func (h *harness) moveInAndOut() {
	const me = "me@here.example"
	h.accounts(me)
	h.deliver(letter, me)
	large := "a: b\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef\r\n", 60_000)
	for uidl, body := range map[string]string{"00000001deadbeef": letter, strings.Repeat("~", 70): large} {
		if _, err := h.s.Import(h.ctx(), me, uidl, strings.NewReader(body)); err != nil {
			h.Fatal(err)
		}
	}
	id, err := h.s.Import(h.ctx(), me, "", strings.NewReader(letter))
	h.check(err)
	_, err = h.s.Import(h.ctx(), me, "00000001deadbeef", strings.NewReader(letter))
	h.code("the same message again", err, store.CodeExists)
	_, err = h.s.Import(h.ctx(), me, "00000001deadbeef", strings.NewReader(large))
	h.code("another one under its UIDL", err, store.CodeTaken)
	_, err = h.s.Import(h.ctx(), me, id.String(), strings.NewReader(letter))
	h.code("a UIDL of ours", err, store.CodeExists)
	_, err = h.s.Import(h.ctx(), me, "with blank", strings.NewReader(letter))
	h.code("no UIDL", err, store.CodeInvalid)
	_, err = h.s.Import(h.ctx(), "nobody@here.example", "x", strings.NewReader(letter))
	h.code("no account", err, store.CodeMissing)

	mail, err := h.s.Mail(h.ctx(), me)
	h.check(err)
	m := h.open(me)
	if len(mail) != 4 || len(m.Messages()) != 4 {
		h.Fatalf("%d messages are listed and %d seen by POP3, want 4", len(mail), len(m.Messages()))
	}
	seen := map[string]bool{}
	for i, msg := range mail {
		h.equal("UIDL", msg.UIDL(), m.Messages()[i].UIDL())
		seen[msg.UIDL()] = true
		var out bytes.Buffer
		h.check(h.s.Copy(h.ctx(), me, msg.ID, &out))
		h.equal("copy", out.String(), h.retrieve(m, i))
	}
	if !seen["00000001deadbeef"] || !seen[strings.Repeat("~", 70)] || !seen[id.String()] {
		h.Errorf("UIDLs are %v", seen)
	}
	h.check(m.Commit(h.ctx(), []int{0}))
	h.check(m.Close())
	_, err = h.s.Import(h.ctx(), me, mail[1].UIDL(), strings.NewReader("another\r\n"))
	h.code("another one", err, store.CodeTaken)
	h.code("a message that is gone", h.s.Copy(h.ctx(), me, mail[0].ID, new(bytes.Buffer)), store.CodeMissing)
	if st, err := h.s.Figures(h.ctx()); err != nil || st.Messages != 3 || st.Delivered != 1 {
		h.Errorf("figures %+v, %v", st, err)
	}
}

// backUp: a backup goes on beside mail, and its report says what it holds.
func (h *harness) backUp() {
	h.accounts("a@here.example", "b@here.example")
	for range 20 {
		h.deliver(letter+strings.Repeat("x\r\n", 20_000), "a@here.example", "b@here.example")
	}
	var out bytes.Buffer
	report, err := h.s.Backup(h.ctx(), &out)
	if err != nil || report.Messages != 20 || report.Entries != 40 || report.Octets != int64(out.Len()) {
		h.Errorf("%+v with %d octets, %v", report, out.Len(), err)
	}
	if n, err := h.s.Undelete(h.ctx(), "a@here.example", time.Time{}); err != nil || n != 0 {
		h.Errorf("%d messages came back of none that was deleted; %v", n, err)
	}
	_, err = h.s.Undelete(h.ctx(), "nobody@here.example", time.Time{})
	h.code("no account", err, store.CodeMissing)
}

// quotas: an account's own quota refuses what does not fit, and gives way when mail is gone.
func (h *harness) quotas() {
	const me = "me@here.example"
	h.accounts(me)
	h.apply(store.Edit{Op: store.SetQuota, Address: me, Quota: &store.Quota{Octets: 1000, Messages: 2}})
	ask := func(size int64) error {
		_, err := h.s.Resolve(h.ctx(), store.Attempt{To: me, Size: size})
		return err
	}
	h.check(ask(1000))
	h.fails("over the octets", ask(1001), store.ErrOverQuota)
	h.deliver(letter, me)
	h.deliver(letter, me)
	h.fails("over the messages", ask(0), store.ErrOverQuota)
	m := h.open(me)
	h.check(m.Commit(h.ctx(), []int{0}))
	h.check(m.Close())
	h.check(ask(0))
	h.apply(store.Edit{Op: store.SetQuota, Address: me})
	h.check(ask(1 << 20))
	d, err := h.s.Directory(h.ctx())
	if err != nil || d.Accounts[0].Quota != nil {
		h.Errorf("%+v, %v", d.Accounts, err)
	}
	_, err = h.s.Apply(h.ctx(), 0, []store.Edit{{Op: store.SetQuota, Address: me, Quota: &store.Quota{Octets: -1}}})
	h.code("less than nothing", err, store.CodeInvalid)
}
