package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"example.org/letterbox/store"
)

// harness is one test's store and its short words.
type harness struct {
	*testing.T
	c    Config
	s    Store
	hash string
}

func (h *harness) ctx() context.Context { return h.Context() }

func (h *harness) check(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) apply(edits ...store.Edit) {
	h.Helper()
	_, err := h.s.Apply(h.ctx(), 0, edits)
	h.check(err)
}

func (h *harness) accounts(addresses ...string) {
	h.Helper()
	for _, a := range addresses {
		h.apply(store.Edit{Op: store.AddAccount, Address: a, Hash: h.hash})
	}
}

func (h *harness) drops(to string) []store.MaildropID {
	h.Helper()
	target, err := h.s.Resolve(h.ctx(), store.Attempt{To: to})
	h.check(err)
	return target.Maildrops
}

func prefixFor(to string) []byte {
	return []byte("Return-Path: <a@sender.example>\r\nDelivered-To: " + to + "\r\n")
}

var trace = []byte("Received: from sender.example\r\n\tby mx.example; now\r\n")

func (h *harness) draft(body string) store.Draft {
	h.Helper()
	d, err := h.s.Begin(h.ctx(), store.Envelope{Session: "s1", From: "a@sender.example"})
	h.check(err)
	_, err = io.Copy(struct{ io.Writer }{d}, iotest.HalfReader(strings.NewReader(body)))
	h.check(err)
	return d
}

func (h *harness) final(to ...string) store.Final {
	h.Helper()
	f := store.Final{Trace: trace}
	for _, a := range to {
		for _, drop := range h.drops(a) {
			f.Recipients = append(f.Recipients, store.Recipient{Maildrop: drop, Prefix: prefixFor(a)})
		}
	}
	return f
}

func (h *harness) deliver(body string, to ...string) store.ID {
	h.Helper()
	d := h.draft(body)
	h.check(d.Commit(h.ctx(), h.final(to...)))
	return d.ID()
}

func (h *harness) tryOpen(name, password string) (store.Maildrop, error) {
	return h.s.Open(h.ctx(), store.Login{
		Session: "p1", Peer: netip.MustParseAddr("127.0.0.1"), Mechanism: "USER", Name: name, Secret: password,
	})
}

func (h *harness) open(name string) store.Maildrop {
	h.Helper()
	m, err := h.tryOpen(name, Password)
	h.check(err)
	h.Cleanup(func() { m.Close() })
	return m
}

func (h *harness) retrieve(m store.Maildrop, i int) string {
	h.Helper()
	r, err := m.Retrieve(h.ctx(), i)
	h.check(err)
	defer r.Close()
	text, err := io.ReadAll(iotest.OneByteReader(r))
	h.check(err)
	if int64(len(text)) != m.Messages()[i].Octets {
		h.Errorf("message %d: %d octets announced, %d read", i, m.Messages()[i].Octets, len(text))
	}
	return string(text)
}

// fetch logs in and returns all that waits, as received.
func (h *harness) fetch(name string) []string {
	h.Helper()
	m := h.open(name)
	defer m.Close()
	var all []string
	for i := range m.Messages() {
		all = append(all, h.retrieve(m, i))
	}
	return all
}

func (h *harness) equal(what string, got, want any) {
	h.Helper()
	if g, w := fmt.Sprintf("%q", got), fmt.Sprintf("%q", want); g != w {
		h.Errorf("%s: got %.300s, want %.300s", what, g, w)
	}
}

func (h *harness) fails(what string, err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

const letter = "From: a\r\nSubject: b\r\n\r\nHello.\r\n"

func whole(to, body string) string { return string(prefixFor(to)) + string(trace) + body }
