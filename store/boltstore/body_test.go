package boltstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"example.org/letterbox/store"
)

// testStore is a store with one account whose maildrop is opened without a password.
type testStore struct {
	*testing.T
	*Store
	drop store.MaildropID
}

const testHash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$WwSIM1F5bQ6mq2pYkcNrhA"

func newTestStore(t *testing.T, o Options) *testStore {
	t.Helper()
	ts := &testStore{T: t, Store: openTest(t, t.TempDir(), o)}
	if _, err := ts.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: "me@here.example", Hash: testHash}}); err != nil {
		t.Fatal(err)
	}
	ts.drop = 1
	return ts
}

// again closes the store, lets meddle work on the folder, and opens it.
func (ts *testStore) again(o Options, meddle func(dir string)) {
	ts.Helper()
	if err := ts.Close(); err != nil {
		ts.Fatal(err)
	}
	if meddle != nil {
		meddle(ts.dir)
	}
	ts.Store = openTest(ts.T, ts.dir, o)
}

func (ts *testStore) begin(body []byte) store.Draft {
	ts.Helper()
	d, err := ts.Begin(ts.Context(), store.Envelope{})
	if err != nil {
		ts.Fatal(err)
	}
	if _, err := io.Copy(struct{ io.Writer }{d}, bytes.NewReader(body)); err != nil {
		ts.Fatal(err)
	}
	return d
}

func (ts *testStore) send(body []byte) store.ID {
	ts.Helper()
	d := ts.begin(body)
	if err := d.Commit(ts.Context(), ts.to()); err != nil {
		ts.Fatal(err)
	}
	return d.ID()
}

func (ts *testStore) to() store.Final {
	return store.Final{Recipients: []store.Recipient{{Maildrop: ts.drop}}}
}

func (ts *testStore) pick() *maildrop {
	ts.Helper()
	m := lockable(ts.Store, ts.drop)
	if err := errors.Join(ts.take(context.Background(), m), m.load()); err != nil {
		ts.Fatal(err)
	}
	ts.Cleanup(func() { m.Close() })
	return m
}

func (ts *testStore) read(m *maildrop, i int) ([]byte, error) {
	r, err := m.Retrieve(context.Background(), i)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func (ts *testStore) files() []string {
	ts.Helper()
	names, err := filepath.Glob(filepath.Join(ts.dir, "bodies", "*"))
	if err != nil {
		ts.Fatal(err)
	}
	return names
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

func TestLargeBody(t *testing.T) {
	ts := newTestStore(t, Options{})
	small, large := pattern(maxInMemory), pattern(3*maxInMemory+7)
	ts.send(small)
	ts.send(large)
	discarded := ts.begin(large)
	if n := len(ts.files()); n != 2 {
		t.Errorf("%d files of bodies, want 2: one message and one draft", n)
	}
	discarded.Discard()
	if n, used := len(ts.files()), ts.memory.used.Load(); n != 1 || used != 0 {
		t.Errorf("after discarding: %d files and %d octets in use, want 1 and 0", n, used)
	}
	for _, o := range []Options{{}, {}} {
		m := ts.pick()
		for i, want := range [][]byte{small, large} {
			if got, err := ts.read(m, i); err != nil || !bytes.Equal(got, want) {
				t.Errorf("message %d: %d octets, %v", i, len(got), err)
			}
		}
		m.Close()
		ts.again(o, func(dir string) { os.Remove(filepath.Join(dir, "index.db")) })
	}
	m := ts.pick()
	r, err := m.Retrieve(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(t.Context(), []int{1}); err != nil {
		t.Fatal(err)
	}
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	if n := len(ts.files()); n != 0 {
		t.Errorf("%d files after deletion", n)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, large) {
		t.Errorf("a reader of an unlinked body got %d octets, %v", len(got), err)
	}
	r.Close()
}

// TestMemorySpent: a body goes to a file when the drafts together may hold no more.
func TestMemorySpent(t *testing.T) {
	ts := newTestStore(t, Options{BodyMemory: firstPiece + nextPiece})
	first := ts.begin(pattern(20000))
	second := ts.begin(pattern(20000))
	if n := len(ts.files()); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
	for _, d := range []store.Draft{first, second} {
		if err := d.Commit(t.Context(), ts.to()); err != nil {
			t.Fatal(err)
		}
	}
	m := ts.pick()
	for i := range 2 {
		if got, err := ts.read(m, i); err != nil || !bytes.Equal(got, pattern(20000)) {
			t.Errorf("message %d: %d octets, %v", i, len(got), err)
		}
	}
	if used := ts.memory.used.Load(); used != 0 {
		t.Errorf("%d octets still in use", used)
	}
}

// TestSweep: what a crash left in bodies/ goes at the next start, and what belongs to a message stays.
func TestSweep(t *testing.T) {
	ts := newTestStore(t, Options{})
	id := ts.send(pattern(2 * maxInMemory))
	ts.again(Options{}, func(dir string) {
		for _, name := range []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAW.new"} {
			if err := os.WriteFile(filepath.Join(dir, "bodies", name), []byte("left"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	if files := ts.files(); len(files) != 1 || filepath.Base(files[0]) != id.String() {
		t.Errorf("left: %v", files)
	}
}

// TestRotInBody: one flipped bit in a body is found before its first octet is served.
func TestRotInBody(t *testing.T) {
	ts := newTestStore(t, Options{})
	ts.send(pattern(1000))
	ts.send(pattern(200 << 10))
	id := ts.send(pattern(2 * maxInMemory))
	ts.send([]byte("fine"))
	m := ts.pick()
	flip(t, filepath.Join(ts.dir, "log", "0000000000000001.seg"), m.places[0].pos().Offset+500)
	flip(t, filepath.Join(ts.dir, "log", "0000000000000001.seg"), m.places[1].pos().Offset+150<<10)
	flip(t, filepath.Join(ts.dir, "bodies", id.String()), maxInMemory)
	for i, want := range []error{store.ErrCorrupt, store.ErrCorrupt, store.ErrCorrupt, nil} {
		if _, err := ts.read(m, i); !errors.Is(err, want) {
			t.Errorf("message %d: error %v, want %v", i, err, want)
		}
	}
}

// TestFiguresOfBodies: an operator is told what the files of large bodies take.
func TestFiguresOfBodies(t *testing.T) {
	ts := newTestStore(t, Options{})
	large := pattern(3*maxInMemory + 7)
	ts.send(large)
	ts.send([]byte("small\r\n"))
	if f, err := ts.Figures(t.Context()); err != nil || f.BodyBytes != int64(len(large)) {
		t.Errorf("%d octets of bodies, want %d: %v", f.BodyBytes, len(large), err)
	}
	ts.remove([]int{0})
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	if f, err := ts.Figures(t.Context()); err != nil || f.BodyBytes != 0 {
		t.Errorf("%d octets of bodies behind the deletion: %v", f.BodyBytes, err)
	}
}
