package storesock

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"example.org/letterbox/store"
)

// refusal is one of a message, with everything that one can have.
func refusal() store.Refusal {
	return store.Refusal{
		Session: "s1", Peer: netip.MustParseAddr("2001:db8::1"), From: "a@b", To: []string{"x@y", "z@y"}, Verb: "DATA", Code: 552,
		Reason: "size", Octets: 1 << 40, MessageID: "one@b",
	}
}

func noteOf(r store.Refusal) []byte { return appendFrame(nil, noteFrame, appendNote([]byte{0}, &r)) }

// Note records what came.
func (b *box) Note(r store.Refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noted = append(b.noted, r)
}

func (b *box) notes() []store.Refusal { return see(b, func() []store.Refusal { return b.noted }) }

// TestNotes: what is noted gets to the owner as it was, in order, without anybody waiting for it, and Close sends what waits.
func TestNotes(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	d := s.deliverer(t)
	d.Note(refusal())
	soon(t, "the note", func() bool { return len(b.notes()) == 1 })
	if got := b.notes()[0]; !reflect.DeepEqual(got, refusal()) {
		t.Errorf("got %+v", got)
	}
	long := refusal()
	long.From, long.MessageID = strings.Repeat("f", 20_000), strings.Repeat("m", 20_000)
	long.To = nil
	for range store.MaxRecipients {
		long.To = append(long.To, strings.Repeat("t", 20_000))
	}
	d.Note(long)
	for i := range 500 {
		r := refusal()
		r.Session = fmt.Sprint(i)
		d.Note(r)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	got := b.notes()
	if len(got) != 502 || got[501].Session != "499" {
		t.Fatalf("%d notes", len(got))
	}
	if l := got[1]; len(l.From) != store.MaxPath || len(l.To) != maxNotedPaths || len(l.MessageID) != store.MaxMessageID {
		t.Errorf("a long one came with %d paths of %d octets", len(l.To), len(l.From))
	}
	d.Note(refusal()) // is dropped, and does not wait
}

// TestNotesBounded: while the owner is away notes are dropped and counted; what is kept is bounded, and nobody waits. Once it is
// back it is told how many there were.
func TestNotesBounded(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	s.stop()
	d := s.deliverer(t)
	for range 3 * maxNotes {
		d.Note(refusal())
	}
	soon(t, "giving up", func() bool { return len(d.notes.queue) == 0 && d.notes.lost.Load() == 3*maxNotes })
	s.start(t)
	d.Note(refusal())
	soon(t, "the note", func() bool { return len(b.notes()) == 1 && d.notes.lost.Load() == 0 })
}

// TestNoteBesidePrepared: a note ends no draft that is prepared.
func TestNoteBesidePrepared(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	d := s.deliverer(t)
	resolve(t, d, attempt())
	d.Note(refusal())
	soon(t, "the note", func() bool { return len(b.notes()) == 1 })
	draft := begin(t, d)
	if err := draft.Commit(t.Context(), final()); err != nil || b.begun() != 1 {
		t.Errorf("%v, %d drafts", err, b.begun())
	}
}

// TestOrigin: what a Final says for the history comes through, within its bounds.
func TestOrigin(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	d := s.deliverer(t)
	origin := store.Origin{Peer: netip.MustParseAddr("192.0.2.1"), MessageID: "one@b", Paths: []string{"x@y", "z@y"}}
	for range store.MaxRecipients {
		origin.Paths = append(origin.Paths, strings.Repeat("p", store.MaxPath+1))
	}
	f := final()
	f.Origin = origin
	if err := begin(t, d).Commit(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	got := see(b, func() store.Origin { return b.origin })
	if got.Peer != origin.Peer || got.MessageID != "one@b" || len(got.Paths) != store.MaxRecipients || got.Paths[1] != "z@y" || len(got.Paths[2]) != store.MaxPath {
		t.Errorf("got %+v", got)
	}
}

// TestTraceOverSocket: the answer comes as it is, and an error of its kind.
func TestTraceOverSocket(t *testing.T) {
	m := &memory{}
	path, _ := start(t, newServer(m))
	a := dial(t, path)
	traced, err := a.Trace(t.Context(), store.Query{Text: "x@y", Limit: 3})
	if err != nil || !traced.More || len(traced.Events) != 1 || traced.Events[0].MessageID != "x@y" {
		t.Errorf("%+v, %v", traced, err)
	}
	m.err = store.ErrNoHistory
	_, err = a.Trace(t.Context(), store.Query{Text: "x@y"})
	wantErr(t, "no history", err, store.ErrNoHistory)
}
