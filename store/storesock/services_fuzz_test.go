package storesock

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

// script is a connection that says what its reader holds and keeps what it is told.
type script struct {
	scripted
	wrote *bytes.Buffer
}

func (s script) Write(b []byte) (int, error) { return s.wrote.Write(b) }

// speak runs a session of a service with a client that says b and closes.
func speak(session func(context.Context, script), b []byte) []byte {
	var wrote bytes.Buffer
	session(context.Background(), script{scripted{r: bytes.NewReader(b)}, &wrote})
	return wrote.Bytes()
}

// FuzzDeliverServer: whatever a client says, a message is committed only when its end frame came, every draft is given back,
// and what is answered are whole frames.
func FuzzDeliverServer(f *testing.F) {
	r := requests()
	f.Add(slices.Concat(r["resolve"], r["begin"], r["data"], r["final"]))
	f.Add(slices.Concat(r["begin"], r["data"], r["discard"], r["ask"]))
	f.Add(slices.Concat(r["resolve"], r["resolve"], r["data"], r["final"], r["resolve"], r["ask"], r["discard"]))
	f.Add(slices.Concat(r["begin"], r["final"][:20]))
	f.Add(slices.Concat(r["canary"], r["canary"]))
	f.Add(slices.Concat(r["note"], r["resolve"], r["note"], r["data"], r["note"]))
	f.Fuzz(func(t *testing.T, said []byte) {
		b := &box{}
		s := newDeliverServer(b, zerolog.Nop())
		answer := speak(func(ctx context.Context, c script) { s.session(ctx, c) }, append(helloFor(deliverService), said...))
		ends := bytes.Count(said, []byte{byte(endFrame), 0, 0, 0, 0})
		if len(b.messages) > ends || b.discarded != int(b.next) || len(s.outcomes.known) > len(b.messages) || s.finals.Load() != 0 {
			t.Fatalf("%d messages with %d end frames, %d of %d drafts given back", len(b.messages), ends, b.discarded, b.next)
		}
		if len(b.noted) > bytes.Count(said, []byte{byte(noteFrame)})*maxRequest {
			t.Fatalf("%d notes", len(b.noted))
		}
		frames(t, answer)
	})
}

// FuzzPickupServer: whatever a client says, nothing is opened without the secret, nothing is deleted without an end frame,
// the lock is gone afterwards, and what is answered are whole frames.
func FuzzPickupServer(f *testing.F) {
	r := requests()
	f.Add(slices.Concat(r["open"], r["active"], r["retrieve"], r["credit"]))
	f.Add(slices.Concat(r["open"], r["deletion"], r["close"]))
	f.Add(slices.Concat(r["open"], r["retrieve"], frame(cancelFrame, "")))
	f.Add(slices.Concat(r["canary"], r["canary"]))
	exchange := secretLogin()
	exchange.Exchange = func(context.Context, []byte) ([]byte, error) { return nil, nil }
	f.Add(slices.Concat(loginFrame(exchange), r["step"], frame(stepFrame, "to first"), frame(stepFrame, "to final")))
	f.Fuzz(func(t *testing.T, said []byte) {
		b := &box{messages: []string{marker, "second"}}
		s := newPickupServer(b, zerolog.Nop())
		answer := speak(func(ctx context.Context, c script) { s.session(ctx, c) }, append(helloFor(pickupService), said...))
		if b.open || len(b.messages) < 2 && !bytes.Contains(said, []byte{byte(endFrame), 0, 0, 0, 0}) {
			t.Fatal("deleted without an end, or still locked")
		}
		if b.opened > 0 && !bytes.Contains(said, []byte("secret")) && !bytes.Contains(said, []byte("to final")) {
			t.Fatal("opened without a secret")
		}
		frames(t, answer)
	})
}

// meetScript connects a client to an owner that says b.
func meetScript(o *owner, b []byte) (*wire, error) {
	return o.meet(context.Background(), scripted{r: bytes.NewReader(b)})
}

// FuzzDeliverClient: whatever the owner says, a commit succeeds only with an answer, and each error is temporary unless its
// code says otherwise.
func FuzzDeliverClient(f *testing.F) {
	id := store.ID{15: 1}
	begun := frame(answerFrame, string(id[:]))
	target := targetFrame(store.Target{Maildrops: []store.MaildropID{7}})
	prepared := targetFrame(store.Target{Maildrops: []store.MaildropID{7}}, id)
	f.Add(slices.Concat(prepared, frame(answerFrame, "")))
	f.Add(slices.Concat(prepared, frame(failureFrame, "full")))
	f.Add(slices.Concat(target, begun, frame(answerFrame, "")))
	f.Add(slices.Concat(target, begun, frame(failureFrame, "full")))
	f.Add(slices.Concat(target, begun, frame(refusalFrame, "comet")))
	f.Add(frame(failureFrame, "no-maildrop"))
	f.Fuzz(func(t *testing.T, said []byte) {
		d := NewDeliverer("/nonexistent/socket")
		w, err := meetScript(&d.pool.owner, append(helloFor(deliverService), said...))
		if err != nil {
			t.Fatal(err)
		}
		d.pool.put(w)
		if _, err := d.Resolve(context.Background(), store.Attempt{To: "a@b"}); err != nil {
			return
		}
		draft, err := d.Begin(context.Background(), store.Envelope{})
		if err != nil {
			return
		}
		draft.Write([]byte("body")) //nolint:errcheck // Commit has it
		if err := draft.Commit(context.Background(), final()); err == nil && bytes.Count(said, []byte{byte(answerFrame), 0, 0, 0}) < 2 {
			t.Fatal("committed without an answer")
		}
		draft.Discard()
		d.Note(store.Refusal{To: []string{"a@b"}})
		d.Close()
	})
}

// FuzzPickupClient: whatever the owner says, a message is whole only with its announced size, and nothing hangs.
func FuzzPickupClient(f *testing.F) {
	list := slices.Concat(frame(answerFrame, "\x02"), frame(listFrame, string(appendMessage(appendMessage(nil, &store.Message{Octets: 3}), &store.Message{Octets: 2}))))
	f.Add(slices.Concat(list, frame(lastFrame, "one"), frame(dataFrame, "t"), frame(lastFrame, "w"), frame(answerFrame, ""), frame(answerFrame, "")))
	f.Add(slices.Concat(list, frame(dataFrame, "on"), frame(failureFrame, "corrupt"), frame(lostFrame, "")))
	f.Add(slices.Concat(frame(stepFrame, ""), frame(failureFrame, "credential")))
	f.Fuzz(func(t *testing.T, said []byte) {
		p := NewPickup("/nonexistent/socket")
		w, err := meetScript(&p.owner, append(helloFor(pickupService), said...))
		if err != nil {
			t.Fatal(err)
		}
		l := secretLogin()
		l.Exchange = func(context.Context, []byte) ([]byte, error) { return nil, nil }
		messages, err := login(context.Background(), w, loginFrame(l), l.Exchange)
		if err != nil {
			return
		}
		m := p.maildrop(w, messages)
		for i := range min(len(messages), 100) {
			r, err := m.Retrieve(context.Background(), i)
			if err != nil {
				break
			}
			text, err := io.ReadAll(r)
			if err == nil && int64(len(text)) != messages[i].Octets {
				t.Fatalf("%d octets of %d", len(text), messages[i].Octets)
			}
			r.Close()
		}
		if err := m.Commit(context.Background(), nil); err == nil && bytes.Count(said, []byte{byte(answerFrame), 0, 0, 0}) < 2 {
			t.Fatal("committed without an answer")
		}
		m.Close()
	})
}
