package boltstore

import (
	"io"
	"sync"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// stopwatch is an Observer that keeps what it is told.
type stopwatch struct {
	mu                 sync.Mutex
	synced, indexed    int
	retrieved, deleted []time.Duration
}

func (w *stopwatch) Synced(time.Duration) { w.mu.Lock(); w.synced++; w.mu.Unlock() }

func (w *stopwatch) Indexed(time.Duration) { w.mu.Lock(); w.indexed++; w.mu.Unlock() }

func (w *stopwatch) Retrieved(d time.Duration) {
	w.mu.Lock()
	w.retrieved = append(w.retrieved, d)
	w.mu.Unlock()
}

func (w *stopwatch) Deleted(d time.Duration) {
	w.mu.Lock()
	w.deleted = append(w.deleted, d)
	w.mu.Unlock()
}

// TestObserver follows a message through the store: what waits unseen, the first reading, the deletion, each with its time.
func TestObserver(t *testing.T) {
	w := &stopwatch{}
	s := cheapStore(t, Options{Observer: w})
	began := time.Now().Truncate(time.Millisecond)
	s.send([]byte("one\r\n"))
	s.send([]byte("two\r\n"))
	if err := s.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	if at := s.Stats().Oldest; at.Before(began) || at.After(time.Now()) {
		t.Errorf("the oldest unseen message is of %v", at)
	}
	m, err := s.openBy("right")
	if err != nil {
		t.Fatal(err)
	}
	if at := s.Stats().Oldest; !at.IsZero() {
		t.Errorf("a session saw all, and %v is the oldest unseen", at)
	}
	read(t, m, 0, -1)
	read(t, m, 0, -1) // the second time does not count
	read(t, m, 1, 1)  // nor does a part
	if err := m.Commit(t.Context(), []int{0, 1}); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.retrieved) != 1 || len(w.deleted) != 2 || w.synced < 3 || w.indexed == 0 {
		t.Errorf("told of %d, %d, %d, %d", len(w.retrieved), len(w.deleted), w.synced, w.indexed)
	}
	for _, d := range append(w.retrieved, w.deleted...) {
		if d < 0 || d > time.Since(began) {
			t.Errorf("a message waited %v", d)
		}
	}
}

// read reads n octets of a message, all of them for -1.
func read(t *testing.T, m store.Maildrop, i int, n int64) {
	t.Helper()
	r, err := m.Retrieve(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n < 0 {
		n = m.Messages()[i].Octets
	}
	if _, err := io.CopyN(io.Discard, r, n); err != nil {
		t.Fatal(err)
	}
}

// TestReadersAreBounded: what is remembered of messages that were read does not grow with them.
func TestReadersAreBounded(t *testing.T) {
	var r readers
	for seq := range uint64(maxRead + 100) {
		if !r.first(copyName{1, seq}) {
			t.Fatal("read before")
		}
	}
	if len(r.read) != maxRead {
		t.Errorf("%d are remembered", len(r.read))
	}
	if r.first(copyName{1, maxRead + 99}) && r.first(copyName{1, maxRead + 98}) && r.first(copyName{1, maxRead + 97}) {
		t.Error("what was read last is forgotten")
	}
}

// TestTakeoversAreCounted: a login that takes a silent session's maildrop counts, and one that finds it free does not.
func TestTakeoversAreCounted(t *testing.T) {
	clock := &testClock{}
	ts := cheapStore(t, Options{Now: clock.now, Logins: LoginPolicy{TakeoverAfter: time.Minute}})
	for _, want := range []uint64{0, 1} {
		if _, err := ts.openBy("right"); err != nil {
			t.Fatal(err)
		}
		if n := ts.Stats().Takeovers; n != want {
			t.Errorf("%d maildrops were taken over, want %d", n, want)
		}
		clock.advance(time.Hour)
	}
}

// TestExportIsNoFetch: mail that its operator looks at or exports still waits to be fetched: it is not seen, and its first RETR is
// still to come.
func TestExportIsNoFetch(t *testing.T) {
	w := &stopwatch{}
	ts := cheapStore(t, Options{Observer: w})
	id := ts.send([]byte("hello\r\n"))
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	if list, err := ts.Mail(t.Context(), "me@here.example"); err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := ts.Copy(t.Context(), "me@here.example", id, io.Discard); err != nil {
		t.Fatal(err)
	}
	if ts.Stats().Oldest.IsZero() || len(w.retrieved) > 0 {
		t.Errorf("behind an export: the oldest came at %s, %d were fetched", ts.Stats().Oldest, len(w.retrieved))
	}
	m, err := ts.openBy("right")
	if err != nil {
		t.Fatal(err)
	}
	read(t, m, 0, -1)
	if !ts.Stats().Oldest.IsZero() || len(w.retrieved) != 1 {
		t.Errorf("behind a session: the oldest came at %s, %d were fetched", ts.Stats().Oldest, len(w.retrieved))
	}
}
