package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"example.org/letterbox/store"
)

// mixed sends messages of many sizes, some of them for nobody in between, and returns their bodies.
func mixed(ts *testStore) [][]byte {
	rng := rand.New(rand.NewPCG(5, 6))
	var bodies [][]byte
	for i := range 300 {
		size := rng.IntN(9000)
		switch {
		case i%100 == 50:
			size = 2 << 20 // a file of its own
		case i%100 == 70:
			size = 200 << 10 // more than is read in one piece
		case i%10 == 5:
			size = 70 << 10
		}
		bodies = append(bodies, bytes.Repeat(fmt.Appendf(nil, "%d\r\n", i), size/6+1))
		ts.send(bodies[i])
	}
	return bodies
}

// TestReadAhead: whoever takes one message after the other, with and without a moment of quiet between, has each of them as it is, also
// one that is asked for out of turn or again, and where its segment has gone since.
func TestReadAhead(t *testing.T) {
	ts := newTestStore(t, Options{SegmentBytes: 1 << 20, reclaimInterval: quiet.reclaimInterval})
	want := mixed(ts)
	m := ts.pick()
	defer m.Close()
	compare := func(i int) {
		t.Helper()
		if got, err := ts.read(m, i); err != nil || !bytes.Equal(got, want[i]) {
			t.Fatalf("message %d: %d octets, want %d; %v", i, len(got), len(want[i]), err)
		}
	}
	m.Idle()
	for i := range want {
		compare(i)
		switch i % 7 {
		case 2:
			m.Idle()
			m.Idle()
		case 4:
			compare(i)
			compare((i + 13) % len(want))
			compare(i)
		}
		if i == 20 {
			victim := &victim{s: ts.Store, number: 1, tombs: map[tomb][]uint64{}}
			if err := errors.Join(ts.indexer.settle(0), victim.reclaim(t.Context())); err != nil || ts.log.Has(1) {
				t.Fatalf("segment 1 was to go: %v", err)
			}
		}
	}
	for i := len(want) - 1; i >= 0; i -= 5 {
		compare(i)
		m.Idle()
	}
}

// TestReadAheadOfDamage: a message that is damaged on the disk is refused, and those that were read with it are not.
func TestReadAheadOfDamage(t *testing.T) {
	ts := newTestStore(t, quiet)
	var want [][]byte
	for i := range 30 {
		want = append(want, bytes.Repeat([]byte{byte('a' + i%26), '\r', '\n'}, 300))
		ts.send(want[i])
	}
	m := ts.pick()
	defer m.Close()
	name := filepath.Join(ts.dir, "log", fmt.Sprintf("%016d.seg", m.places[11].segment))
	segment, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	segment[int(m.places[11].offset)+400] ^= 1
	if err := os.WriteFile(name, segment, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		got, err := ts.read(m, i)
		if i == 11 {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("the damaged message: %d octets, %v", len(got), err)
			}
			continue
		}
		if err != nil || !bytes.Equal(got, want[i]) {
			t.Errorf("message %d: %d octets, %v", i, len(got), err)
		}
	}
}

// TestReadAheadOfADamagedHeader: whichever octet of a record's header is damaged on the disk, a client that takes one message after the
// other gets the message as it was or none. What is read ahead is not held against the header's seal.
func TestReadAheadOfADamagedHeader(t *testing.T) {
	const header, damaged = 80, 2
	ts := newTestStore(t, quiet)
	var want [][]byte
	for i := range 5 {
		want = append(want, bytes.Repeat([]byte{byte('a' + i), '\r', '\n'}, 300))
		ts.send(want[i])
	}
	refused := 0
	for octet := range int64(header) {
		m := ts.pick()
		name := filepath.Join(ts.dir, "log", fmt.Sprintf("%016d.seg", m.places[damaged].segment))
		flip(t, name, int64(m.places[damaged].offset)+octet)
		for i := range want {
			got, err := ts.read(m, i)
			switch {
			case i == damaged && err != nil:
				refused++
			case err != nil || !bytes.Equal(got, want[i]):
				t.Errorf("octet %d: message %d: %d octets, %v", octet, i, len(got), err)
			}
		}
		m.Close()
		flip(t, name, int64(m.places[damaged].offset)+octet)
	}
	if refused < header/3 {
		t.Errorf("damage was seen at %d octets of %d", refused, header)
	}
}

// TestReadAheadFollowsItsClient looks at which places are read ahead: nothing for a client that jumps, nothing twice.
func TestReadAheadFollowsItsClient(t *testing.T) {
	ts := newTestStore(t, Options{})
	for range 60 {
		ts.send(bytes.Repeat([]byte("0123456789abcd\r\n"), 256))
	}
	m := ts.pick()
	defer m.Close()
	ahead := func(i int) bool { return !m.ahead.Low(m.places[i].pos()) }
	take := func(i int) {
		t.Helper()
		if _, err := ts.read(m, i); err != nil {
			t.Fatal(err)
		}
	}
	if m.Idle(); ahead(0) {
		t.Error("something is read ahead before anybody asked for anything")
	}
	if take(9); ahead(10) {
		t.Error("one message was asked for, and others were read with it")
	}
	if m.Idle(); !ahead(10) {
		t.Error("the message behind the one that was taken is not there")
	}
	for i := 10; i < m.reached; i++ {
		take(i)
	}
	at := m.reached
	if take(at); !ahead(at + 1) {
		t.Error("what follows for a client that takes one after the other is not there")
	}
	if m.Close(); ahead(at + 1) {
		t.Error("a maildrop that was closed holds what it read ahead")
	}
}
