package smtpd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"example.org/letterbox/store"
)

// TestNoted: the history hears of every refusal at MAIL, RCPT and DATA what the client was told, and of nothing else; and of
// a message that was taken what only we know.
func TestNoted(t *testing.T) {
	b := newBench(t, Policy{MaxMessageBytes: 100_000, MaxRecipients: 2, BareNewlines: Refuse, Domains: []string{"ours.test"}}, Listener{Name: "test"})
	b.store.resolve = func(a store.Attempt) (store.Target, error) {
		if strings.HasPrefix(a.To, "full@") {
			return store.Target{}, fmt.Errorf("secret cause: %w", store.ErrOverQuota)
		}
		return local(a)
	}
	c := b.hello()
	c.do("MAIL FROM:<no address>", "50") // the library's own
	c.do("MAIL FROM:<\u00fc@b.test>", "553 ")
	c.do("MAIL FROM:<eve@b.test>", "250 ")
	c.do("RCPT TO:<nobody@a.test>", "550 ")
	c.do("RCPT TO:<x@c.test>", "550 ")
	c.do("RCPT TO:<x@ours.test>", "451 ")
	c.do("RCPT TO:<full@a.test>", "452 ")
	c.do("RCPT TO:<ann@a.test>", "250 ")
	c.do("RCPT TO:<bob@a.test>", "250 ")
	c.do("RCPT TO:<both@a.test>", "452 ")
	c.do("DATA", "354 ")
	c.do("Message-ID: <big@b.test>\r\n\r\n"+strings.Repeat("x\r\n", 40_000)+".", "552 ")
	c.do("MAIL FROM:<>", "250 ")
	c.do("RCPT TO:<ann@a.test>", "250 ")
	c.do("DATA", "354 ")
	c.do("message-id:\r\n <good@b.test>\r\n\r\nx\r\n.", "250 ")
	c.do("QUIT", "221 ")
	b.ended(endQuit)

	want := []string{
		"MAIL 553 syntax \u00fc@b.test []", "RCPT 550 unknown eve@b.test [nobody@a.test]", "RCPT 550 not-local eve@b.test [x@c.test]",
		"RCPT 451 temporary eve@b.test [x@ours.test]", "RCPT 452 over-quota eve@b.test [full@a.test]",
		"RCPT 452 too-many eve@b.test [both@a.test]", "DATA 552 size eve@b.test [ann@a.test bob@a.test]",
	}
	notes := b.store.notes()
	for i, n := range notes {
		if got := fmt.Sprintf("%s %d %s %s %v", n.Verb, n.Code, n.Reason, n.From, n.To); i >= len(want) || got != want[i] {
			t.Errorf("note %d is %q", i, got)
		}
		if n.Session == "" || n.Peer != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("note %d is of session %q, peer %s", i, n.Session, n.Peer)
		}
	}
	if len(notes) != len(want) {
		t.Fatalf("%d notes, want %d", len(notes), len(want))
	}
	if last := notes[len(notes)-1]; last.MessageID != "big@b.test" || last.Octets <= 100_000 {
		t.Errorf("%+v", last)
	}
	taken := b.store.all()[0].final.Origin
	if taken.MessageID != "good@b.test" || taken.Peer != netip.MustParseAddr("127.0.0.1") || fmt.Sprint(taken.Paths) != "[ann@a.test]" {
		t.Errorf("%+v", taken)
	}
}

// TestNotedWords: every kind of refusal has a reason of a few letters, whatever the verb.
func TestNotedWords(t *testing.T) {
	for k := noKind + 1; k <= lastKind; k++ {
		for _, verb := range []string{"MAIL", "RCPT", "DATA"} {
			if reason := k.noted(verb); reason == "" || reason == "ok" || reason == "none" || strings.Trim(reason, "abcdefghijklmnopqrstuvwxyz-") != "" {
				t.Errorf("%s: kind %d is %q", verb, k, reason)
			}
		}
	}
}
