package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

func (ts *testStore) verify() []store.Finding {
	ts.Helper()
	v, err := ts.Verify(ts.Context())
	if err != nil || int(v.Damage) != len(v.Findings) {
		ts.Fatal(v, err)
	}
	return v.Findings
}

// filled is a store with a bit of everything: several segments, a large body, deletions, moves.
func filled(t *testing.T) (*testStore, map[store.ID][]byte) {
	ts := newTestStore(t, quiet)
	want := map[store.ID][]byte{}
	rng := rand.New(rand.NewPCG(5, 6))
	var order []store.ID
	for i := range 80 {
		b := pattern(rng.IntN(8000))
		if i == 40 {
			b = pattern(2 * maxInMemory)
		}
		id := ts.send(b)
		want[id] = b
		order = append(order, id)
	}
	ts.remove(indices(20))
	for _, id := range order[:20] {
		delete(want, id)
	}
	ts.reclaim()
	return ts, want
}

func TestVerify(t *testing.T) {
	ts, want := filled(t)
	if found := ts.verify(); len(found) != 0 {
		t.Errorf("a store in order has %v", found)
	}
	r, err := ts.Verify(t.Context())
	if err != nil || r.Messages != int64(len(want)) || r.Entries != int64(len(want)) {
		t.Errorf("%+v %v, want %d messages", r, err, len(want))
	}
	// Each thing that the index can be wrong in is found.
	for name, spoil := range map[string]func(tx *bbolt.Tx) error{
		"entry gone": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketEntries).Cursor().First()
			return tx.Bucket(bucketEntries).Delete(bytes.Clone(k))
		},
		"message gone": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketIDs).Cursor().First()
			return tx.Bucket(bucketIDs).Delete(bytes.Clone(k))
		},
		"place wrong": func(tx *bbolt.Tx) error {
			k, v := tx.Bucket(bucketIDs).Cursor().First()
			var r refs
			r.decode(store.ID(k), v)
			r.pos.Offset++
			return tx.Bucket(bucketIDs).Put(bytes.Clone(k), r.encode(store.ID(k)))
		},
		"count wrong": func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketDrops).Put(entryKey(ts.drop, 0)[:8], counts{messages: 1, octets: 1}.encode())
		},
	} {
		if err := ts.index.db.Update(spoil); err != nil {
			t.Fatal(err)
		}
		if found := ts.verify(); len(found) == 0 {
			t.Errorf("%s: not found", name)
		}
		ts.withoutIndex()
		if found := ts.verify(); len(found) != 0 {
			t.Errorf("%s, after a rebuild: %v", name, found)
		}
	}
}

// flip changes one octet of a file.
func flip(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// TestRot flips one octet anywhere in the log: the store opens and serves what is whole, or it refuses and names the
// place; verify finds it; after verify --repair everything else is there.
func TestRot(t *testing.T) {
	rounds := 40
	if os.Getenv("LETTERBOX_LONG") != "" {
		rounds = 600
	}
	rng := rand.New(rand.NewPCG(9, 9))
	ts, want := filled(t)
	var headers []int64 // where records begin: an octet in a thousand, so they are aimed at
	sealed, err := ts.log.Sealed()
	if err != nil {
		t.Fatal(err)
	}
	aimed := sealed[len(sealed)/2].Number
	err = ts.log.Walk(aimed, 0, func(_ *seglog.Header, pos seglog.Pos, _ []byte) error {
		headers = append(headers, pos.Offset)
		return nil
	})
	if err := errors.Join(err, ts.Close()); err != nil {
		t.Fatal(err)
	}
	refused, damaged := 0, 0
	for range rounds {
		dir := filepath.Join(scratch(t), "s")
		if err := os.CopyFS(dir, os.DirFS(ts.dir)); err != nil {
			t.Fatal(err)
		}
		segments, err := filepath.Glob(filepath.Join(dir, "log", "*.seg"))
		if err != nil {
			t.Fatal(err)
		}
		name := segments[rng.IntN(len(segments))]
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		at := rng.Int64N(info.Size())
		if rng.IntN(2) == 0 {
			name = filepath.Join(dir, "log", fmt.Sprintf("%016d.seg", aimed))
			at = headers[rng.IntN(len(headers))] + rng.Int64N(100)
		}
		flip(t, name, at)
		if rng.IntN(2) == 0 {
			os.Remove(filepath.Join(dir, "index.db"))
		}
		lost := 0
		s, err := Open(dir, quiet)
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), "segment") && !strings.Contains(err.Error(), ".seg") {
				t.Fatalf("refused without naming the place: %v", err)
			}
			if err := Repair(t.Context(), dir, func(store.Finding) { lost++ }); err != nil {
				t.Fatal(err)
			}
			if lost == 0 {
				t.Fatalf("repaired without a word: %s", name)
			}
			if s, err = Open(dir, quiet); err != nil {
				t.Fatalf("after the repair: %v", err)
			}
		}
		now := &testStore{T: t, Store: s, drop: 1}
		m := now.pick()
		here := 0
		for i, msg := range m.Messages() {
			got, err := now.read(m, i)
			switch {
			case errors.Is(err, store.ErrCorrupt):
				damaged++
				lost++
				if len(now.verify()) == 0 {
					t.Error("verify does not find what RETR finds")
				}
			case err != nil || want[msg.ID] == nil && lost == 0 || want[msg.ID] != nil && !bytes.Equal(got, want[msg.ID]):
				t.Fatalf("message %s: %d octets, %v", msg.ID, len(got), err)
			case want[msg.ID] != nil:
				here++
			}
		}
		if here+lost < len(want) {
			t.Fatalf("%d messages whole and %d losses named of %d", here, lost, len(want))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		os.RemoveAll(dir)
	}
	t.Logf("%d refused, %d damaged messages found at RETR, of %d", refused, damaged, rounds)
	if refused == 0 || damaged == 0 {
		t.Error("the rounds did not meet both cases")
	}
}

// TestSegmentLost: the store refuses to start when a segment is missing, and goes on without it after the repair.
func TestSegmentLost(t *testing.T) {
	ts, want := filled(t)
	if err := ts.Close(); err != nil {
		t.Fatal(err)
	}
	segments, _ := filepath.Glob(filepath.Join(ts.dir, "log", "*.seg"))
	if err := os.Remove(segments[1]); err != nil {
		t.Fatal(err)
	}
	_, err := Open(ts.dir, quiet)
	var corrupt *seglog.Corrupt
	if !errors.As(err, &corrupt) || corrupt.Segment == 0 {
		t.Fatalf("opened, or does not say which: %v", err)
	}
	var found []store.Finding
	err = Repair(t.Context(), ts.dir, func(f store.Finding) {
		if f.Message == "" { // else it is the large message, if it stood there
			found = append(found, f)
		}
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("repair: %v, %v", found, err)
	}
	ts.Store = openTest(t, ts.dir, quiet)
	if n := len(ts.pick().Messages()); n == 0 || n >= len(want) {
		t.Errorf("%d messages left of %d", n, len(want))
	}
}

// TestRepairAtTheEnd: nothing in the log shows that its last record was acknowledged, but the index does: where it is damaged
// the repair says so, and a damaged body is kept for RETR to find.
func TestRepairAtTheEnd(t *testing.T) {
	for name, at := range map[string]int64{"header": 20, "body": 80 + 40} {
		t.Run(name, func(t *testing.T) {
			ts := newTestStore(t, quiet)
			ts.send(pattern(100))
			ts.send(pattern(200))
			m := ts.pick()
			last := m.places[1].pos()
			m.Close()
			if err := ts.Close(); err != nil {
				t.Fatal(err)
			}
			flip(t, filepath.Join(ts.dir, "log", fmt.Sprintf("%016d.seg", last.Segment)), last.Offset+at)
			var found []store.Finding
			if err := Repair(t.Context(), ts.dir, func(f store.Finding) { found = append(found, f) }); err != nil {
				t.Fatal(err)
			}
			ts.Store = openTest(t, ts.dir, quiet)
			messages := ts.pick().Messages()
			if wanted := map[string]int{"header": 1, "body": 2}[name]; len(messages) != wanted || len(found) != 2-wanted {
				t.Errorf("%d messages are left, want %d; the repair said %v", len(messages), wanted, found)
			}
			if damage := ts.verify(); len(damage) != len(messages)-1 {
				t.Errorf("verify: %v", damage)
			}
		})
	}
}
