package boltstore

import (
	"testing"

	"example.org/letterbox/store"
)

// TestCommitted: an id is known from the moment that its message is durable, before the index has it and after, also when the
// store was opened again; one that was only begun is not, nor is that of a deletion.
func TestCommitted(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{keepHashes: true})
	hash, err := cheapHash("x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: "me@here.example", Hash: hash}}); err != nil {
		t.Fatal(err)
	}
	target, err := s.Resolve(t.Context(), store.Attempt{To: "me@here.example"})
	if err != nil {
		t.Fatal(err)
	}
	known := func(what string, id store.ID, want bool) {
		t.Helper()
		if got, err := s.Committed(t.Context(), id); got != want || err != nil {
			t.Errorf("%s: %v %v, want %v", what, got, err, want)
		}
	}
	d, err := s.Begin(t.Context(), store.Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	id := d.ID()
	known("begun", id, false)
	if err := d.Commit(t.Context(), store.Final{Recipients: []store.Recipient{{Maildrop: target.Maildrops[0]}}}); err != nil {
		t.Fatal(err)
	}
	known("pending or applied", id, true)
	if err := s.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	if s.indexer.brings(id) {
		t.Error("it is pending after it was applied")
	}
	known("applied", id, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{keepHashes: true})
	known("opened again", id, true)
	m, err := s.Open(t.Context(), store.Login{Name: "me@here.example", Secret: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(t.Context(), []int{0}); err != nil {
		t.Fatal(err)
	}
	st, _ := s.indexer.snapshot()
	if st.lastID == id {
		t.Fatal("the deletion has no id of its own")
	}
	known("the deletion", st.lastID, false)
	if err := s.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	known("fetched and deleted", id, false)
}

// TestCommittedPending: what waits for the index is found in its queue.
func TestCommittedPending(t *testing.T) {
	x := &indexer{queue: []group{{changes: []*change{{kind: kindDeletion, id: store.ID{1}}, {kind: kindMessage, id: store.ID{2}}}}}}
	if x.brings(store.ID{1}) || !x.brings(store.ID{2}) || x.brings(store.ID{3}) {
		t.Error("a deletion or nothing counts as a message, or a message does not")
	}
}
