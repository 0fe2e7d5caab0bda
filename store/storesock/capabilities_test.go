package storesock

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

func helloFor(service string) []byte {
	return frame(helloFrame, fmt.Sprintf(`{"protocol":2,"service":%q}`, service))
}

// marker stands in every message of these tests: no socket may show it to one who may not see it.
const marker = "for nobody else"

// frames takes apart what a server said behind its hello.
func frames(t testing.TB, b []byte) (kinds string) {
	t.Helper()
	for w := newWire(scripted{r: bytes.NewReader(b)}, time.Minute); ; {
		kind, _, err := w.next(time.Time{}, maxFrame)
		if err == io.EOF {
			return kinds
		}
		if err != nil {
			t.Fatalf("a server said %q: %v", b, err)
		}
		kinds += string(kind)
	}
}

// requests are one of each frame that a client of either service may send, as it is sent.
func requests() map[string][]byte {
	deletion, _ := encodeDeletion([]int{0}, 1)
	ask := store.ID{1} // of no draft
	return map[string][]byte{
		"resolve": attemptFrame(store.Attempt{To: "a@b"}), "begin": envelopeFrame(store.Envelope{From: "a@b"}),
		"ask": appendFrame(nil, askFrame, ask[:]), "data": frame(dataFrame, "body"),
		"note":  noteOf(refusal()),
		"final": appendParts(nil, encodeFinal(final()), maxFrame), "discard": frame(discardFrame, ""),
		"open": loginFrame(secretLogin()), "step": frame(stepFrame, "to "), "retrieve": retrieval{0, 1, window}.frame(),
		"credit": appendCredit(nil, 5), "active": frame(activeFrame, ""), "close": frame(shutFrame, ""),
		"deletion": appendParts(nil, deletion, maxFrame), "admin": slices.Concat(frame(partFrame, `{"op":"directory"}`), frame(endFrame, "")),
		"hello": helloFor(deliverService), "answer": frame(answerFrame, ""), "lost": frame(lostFrame, ""),
		"canary": peerFrame(netip.MustParseAddrPort("127.0.0.1:25")),
	}
}

// TestCapabilities: each socket gives what its name says and nothing else.
func TestCapabilities(t *testing.T) {
	t.Run("Deliver", func(t *testing.T) {
		b := &box{messages: []string{marker}}
		s := startServices(t, b)
		idle := map[string]string{"resolve": "A", "begin": "A", "ask": "F", "note": "A", "canary": "A"}
		draft := map[string]string{"data": "A", "final": "AA", "discard": "A"}
		for name, request := range requests() {
			if got := frames(t, talk(t, s.deliver, slices.Concat(helloFor(deliverService), request))); got != idle[name] {
				t.Errorf("%s: answered %q, want %q", name, got, idle[name])
			}
			want, ok := draft[name]
			if !ok {
				want = "A" // of begin
			}
			answer := talk(t, s.deliver, slices.Concat(helloFor(deliverService), requests()["begin"], request))
			if got := frames(t, answer); got != want {
				t.Errorf("%s beside a draft: answered %q, want %q", name, got, want)
			}
			if bytes.Contains(answer, []byte(marker)) {
				t.Errorf("%s shows a message", name)
			}
		}
		if b.isLocked() || b.messages[0] != marker || see(b, func() int { return b.opened }) != 0 {
			t.Error("a maildrop was reached")
		}
		if b.count() != 2 {
			t.Errorf("%d messages, want the one that was there and the one that was delivered", b.count())
		}
	})
	t.Run("Pickup", func(t *testing.T) {
		b := &box{messages: []string{marker}}
		s := startServices(t, b)
		wrong := secretLogin()
		wrong.Secret = ""
		for name, request := range requests() {
			for secret, opening := range map[string][]byte{"no login": nil, "a wrong secret": loginFrame(wrong)} {
				if name == "open" && opening == nil {
					continue
				}
				answer := talk(t, s.pickup, slices.Concat(helloFor(pickupService), opening, request))
				want := map[bool]string{true: "", false: "F"}[opening == nil]
				if name == "canary" && opening == nil {
					want = "A" // all that may be asked without a login
				}
				if got := frames(t, answer); got != want || bytes.Contains(answer, []byte(marker)) {
					t.Errorf("%s with %s: answered %q", name, secret, answer)
				}
			}
		}
		if b.isLocked() || see(b, func() int { return b.opened }) != 0 || b.count() != 1 {
			t.Error("a maildrop was reached")
		}
		within := map[string]string{"active": "AM", "credit": "AM", "discard": "AMX", "deletion": "AMA", "close": "AMA"}
		for name, request := range requests() {
			soon(t, "freeing", func() bool { return !b.isLocked() })
			b.messages = []string{marker}
			want, ok := within[name]
			if !ok {
				want = "AM" // the snapshot, and the end
			}
			answer := talk(t, s.pickup, slices.Concat(helloFor(pickupService), loginFrame(secretLogin()), request))
			got := frames(t, answer)
			if name == "retrieve" { // its own message, if the owner is quicker than the end of the connection
				got = strings.TrimSuffix(got, string(lastFrame))
			}
			if got != want {
				t.Errorf("%s in a maildrop: answered %q, want %q", name, got, want)
			}
		}
	})
}

// TestServicesTruncated: every truncation of every frame closes that connection, does nothing, and harms no other.
func TestServicesTruncated(t *testing.T) {
	b := &box{messages: []string{"x"}}
	s := startServices(t, b)
	bystander := s.deliverer(t)
	draft := begin(t, bystander)
	for name, before := range map[string][]byte{
		"resolve": nil, "begin": nil, "ask": nil, "note": nil, "data": requests()["begin"], "final": requests()["begin"], "discard": requests()["begin"],
	} {
		whole := slices.Concat(helloFor(deliverService), before, requests()[name])
		for n := range whole {
			got := frames(t, talk(t, s.deliver, whole[:n]))
			if want := map[bool]string{true: "A"}[before != nil && n >= len(whole)-len(requests()[name])]; got != want || b.count() != 1 {
				t.Fatalf("%s: %d of %d octets: answered %q, want %q; %d messages", name, n, len(whole), got, want, b.count())
			}
		}
	}
	login := loginFrame(secretLogin())
	for _, name := range []string{"open", "retrieve", "deletion", "close"} {
		whole := slices.Concat(helloFor(pickupService), login, requests()[name])
		if name == "open" {
			whole = whole[:len(whole)-len(login)]
		}
		for n := range whole {
			soon(t, "freeing", func() bool { return !b.isLocked() })
			talk(t, s.pickup, whole[:n])
			if b.count() != 1 {
				t.Fatalf("%s: %d of %d octets deleted", name, n, len(whole))
			}
		}
	}
	if err := draft.Commit(t.Context(), final()); err != nil {
		t.Errorf("the bystander: %v", err)
	}
}

// TestServicesGarbage: what is no frame, or no frame for now, closes that connection and does nothing.
func TestServicesGarbage(t *testing.T) {
	b := &box{messages: []string{"x", "y"}}
	s := startServices(t, b)
	r := requests()
	for name, said := range map[string][]byte{
		"zeros": make([]byte, 4096), "too long": {byte(resolveFrame), 0xff, 0xff, 0xff, 0xff}, "empty resolve": frame(resolveFrame, ""),
		"resolve with more": frame(resolveFrame, string(r["resolve"][headLength:])+"x"), "id too short": frame(askFrame, "x"),
		"request over its bound": frame(resolveFrame, string(make([]byte, maxRequest+1))),
		"empty data":             slices.Concat(r["begin"], frame(dataFrame, "")),
		"end without a final":    slices.Concat(r["begin"], r["data"], frame(endFrame, "")),
		"data behind the final":  slices.Concat(r["begin"], frame(partFrame, "x"), r["data"]),
		"discard with content":   slices.Concat(r["begin"], frame(discardFrame, "x")),
		"final of garbage":       slices.Concat(r["begin"], frame(partFrame, "\xff\xff\xff"), frame(endFrame, "")),
		"note of garbage":        frame(noteFrame, "\x00\x80"),
		"note cut short":         frame(noteFrame, string(noteOf(refusal())[headLength:40])),
		"note beside a draft":    slices.Concat(r["begin"], r["note"]),
		"final without anybody":  slices.Concat(r["begin"], appendParts(nil, encodeFinal(store.Final{}), 9)),
		"end with content":       slices.Concat(r["begin"], frame(partFrame, string(encodeFinal(final()))), frame(endFrame, "x")),
	} {
		answer := frames(t, talk(t, s.deliver, slices.Concat(helloFor(deliverService), said)))
		if answer != "" && answer != "A" || b.count() != 2 {
			t.Errorf("%s: answered %q, %d messages", name, answer, b.count())
		}
	}
	open := r["open"]
	for name, said := range map[string][]byte{
		"retrieve of none":        slices.Concat(open, retrieval{0, 0, 1}.frame()),
		"retrieve behind the end": slices.Concat(open, retrieval{1, 2, 1}.frame()),
		"retrieve without credit": slices.Concat(open, retrieval{0, 1, 0}.frame()),
		"retrieve of too many":    slices.Concat(open, retrieval{0, maxAhead + 1, 1}.frame()),
		"credit too large":        slices.Concat(open, appendCredit(nil, window+1)),
		"credit of garbage":       slices.Concat(open, frame(creditFrame, "\x80")),
		"deletion behind the end": slices.Concat(open, frame(partFrame, "\x01\x03"), frame(endFrame, "")),
		"deletion of the same":    slices.Concat(open, frame(partFrame, "\x02\x01\x00"), frame(endFrame, "")),
		"deletion too long":       slices.Concat(open, frame(partFrame, string(make([]byte, maxDeletion(2)+1))), frame(endFrame, "")),
		"deletion cut in two":     slices.Concat(open, frame(partFrame, "\x01"), r["active"], frame(partFrame, "\x01"), frame(endFrame, "")),
		"a second login":          slices.Concat(open, open),
		"login with flags":        frame(openFrame, "\x7f"+string(open[headLength+1:])),
	} {
		soon(t, "freeing", func() bool { return !b.isLocked() })
		answer := frames(t, talk(t, s.pickup, slices.Concat(helloFor(pickupService), said)))
		if answer != "" && answer != "AM" || b.count() != 2 {
			t.Errorf("%s: answered %q, %d messages", name, answer, b.count())
		}
	}
}

// TestServicesHello: a service is for those who mean it.
func TestServicesHello(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	for _, hello := range [][]byte{
		helloFor(adminService), helloFor(pickupService), frame(helloFrame, `{"protocol":3,"service":"deliver"}`), frame(helloFrame, "x"),
	} {
		if got := talk(t, s.deliver, slices.Concat(hello, requests()["resolve"])); len(got) != 0 {
			t.Errorf("%q: answered %q", hello, got)
		}
	}
	_, err := NewDeliverer(s.pickup).Resolve(t.Context(), store.Attempt{})
	wantErr(t, "the wrong socket", err, store.ErrUnavailable)
}
