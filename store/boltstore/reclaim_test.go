package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs/vfstest"
)

// quiet keeps the background reclaim from running after the first look; a test that does it step by step stops it.
var quiet = Options{SegmentBytes: 64 << 10, reclaimInterval: time.Hour}

func (ts *testStore) reclaim() {
	ts.Helper()
	ts.reclaimer.stop() // its first look may still be to come, and two must not work at once
	r := &reclaimer{s: ts.Store, ctx: ts.Context()}
	if err := r.work(); err != nil {
		ts.Fatal(err)
	}
}

// holds compares the maildrop with what it should hold, by content.
func (ts *testStore) holds(want [][]byte) {
	ts.Helper()
	m := ts.pick()
	defer m.Close()
	if len(m.Messages()) != len(want) {
		ts.Fatalf("%d messages, want %d", len(m.Messages()), len(want))
	}
	for i := range want {
		if got, err := ts.read(m, i); err != nil || !bytes.Equal(got, want[i]) {
			ts.Fatalf("message %d: %d octets, want %d; %v", i, len(got), len(want[i]), err)
		}
	}
}

func (ts *testStore) remove(indices []int) {
	ts.Helper()
	m := ts.pick()
	defer m.Close()
	if err := m.Commit(ts.Context(), indices); err != nil {
		ts.Fatal(err)
	}
}

// withoutIndex is what a rebuild makes of the log.
func (ts *testStore) withoutIndex() {
	ts.Helper()
	ts.again(quiet, func(dir string) { os.Remove(filepath.Join(dir, "index.db")) })
}

func TestReclaim(t *testing.T) {
	ts := newTestStore(t, quiet)
	rng := rand.New(rand.NewPCG(3, 4))
	var want [][]byte
	for i := range 400 {
		b := bytes.Repeat(fmt.Appendf(nil, "%d\r\n", i), rng.IntN(600))
		ts.send(b)
		want = append(want, b)
	}
	sealed, _ := ts.log.Sealed()
	before := ts.log.Counts()
	for round := range 4 {
		var gone []int
		var left [][]byte
		for i, b := range want {
			if rng.IntN(2) == 0 {
				gone = append(gone, i)
			} else {
				left = append(left, b)
			}
		}
		ts.remove(gone)
		want = left
		stats := ts.Stats()
		ts.reclaim()
		ts.holds(want)
		if share := float64(ts.Stats().Octets) / float64(ts.log.Counts().Bytes); share < 0.4 && round < 3 {
			t.Errorf("round %d: live share %.2f", round, share)
		}
		ts.withoutIndex()
		ts.holds(want)
		if after := ts.Stats(); after.Messages != stats.Messages || after.Delivered != stats.Delivered || after.Deleted != stats.Deleted || after.Octets != stats.Octets {
			t.Errorf("counters after a rebuild: %+v, want %+v", after, stats)
		}
	}
	ts.remove(indices(len(want)))
	ts.reclaim()
	if after := ts.log.Counts(); after.Segments != 1 {
		t.Errorf("%d segments after everything was deleted, %d before; %d sealed at first", after.Segments, before.Segments, len(sealed))
	}
	ts.withoutIndex()
	ts.holds(nil)
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// TestReclaimUnderReader: who reads, or looked into the maildrop before, does not notice.
func TestReclaimUnderReader(t *testing.T) {
	ts := newTestStore(t, quiet)
	for i := range 60 {
		ts.send(bytes.Repeat([]byte{byte('a' + i%26)}, 4000))
	}
	m := ts.pick()
	r, err := m.Retrieve(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	victim := &victim{s: ts.Store, number: 1, tombs: map[tomb][]uint64{}}
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	if err := victim.reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ts.log.Has(1) {
		t.Fatal("segment 1 is still there")
	}
	for i := range 60 {
		if got, err := ts.read(m, i); err != nil || len(got) != 4000 || got[0] != byte('a'+i%26) {
			t.Errorf("message %d: %d octets, %v", i, len(got), err)
		}
	}
	buf := make([]byte, 4000)
	if n, err := r.Read(buf); n == 0 || buf[0] != 'a' {
		t.Errorf("a reader from before: %d, %v", n, err)
	}
	r.Close()
}

// TestReclaimBesideDeletion: a message that is deleted while its segment is reclaimed stays deleted, also after a rebuild
// that finds the original gone.
func TestReclaimBesideDeletion(t *testing.T) {
	ts := newTestStore(t, quiet)
	for range 60 {
		ts.send(bytes.Repeat([]byte{'x'}, 4000))
	}
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	v := &victim{s: ts.Store, number: 1, tombs: map[tomb][]uint64{}}
	m := ts.pick()
	rec, err := ts.log.Read(m.places[0].pos(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	// The look into the index, then the deletion, then the copy.
	if err := v.message(&rec.Header, rec.Pos, rec.Head); err != nil || len(v.batch) != 1 {
		t.Fatal(len(v.batch), err)
	}
	if err := m.Commit(t.Context(), []int{0}); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if err := v.flush(); err != nil {
		t.Fatal(err)
	}
	if err := v.reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	ts.withoutIndex()
	if n := len(ts.pick().Messages()); n != 59 {
		t.Errorf("%d messages after a rebuild, want 59", n)
	}
}

// TestReclaimBesideOneOfTwo: when one of two recipients deletes between the look and the copy, the copy is for the other
// alone, and a rebuild that finds only the copy gives it to nobody else. A copy that failed leaves nothing either.
func TestReclaimBesideOneOfTwo(t *testing.T) {
	faults := vfstest.NewFaults()
	o := quiet
	o.FS = faults
	ts := newTestStore(t, o)
	if _, err := ts.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: "you@here.example", Hash: testHash}}); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		d := ts.begin(bytes.Repeat([]byte{'x'}, 4000))
		if err := d.Commit(t.Context(), store.Final{Recipients: []store.Recipient{{Maildrop: 1}, {Maildrop: 2}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	for n, failing := range []bool{true, false} {
		v := &victim{s: ts.Store, number: 1, tombs: map[tomb][]uint64{}}
		m := ts.pick()
		rec, err := ts.log.Read(m.places[0].pos(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.message(&rec.Header, rec.Pos, rec.Head); err != nil || len(v.batch) != 1 {
			t.Fatal(len(v.batch), err)
		}
		rec.Close()
		if err := m.Commit(t.Context(), []int{0}); err != nil {
			t.Fatal(err)
		}
		m.Close()
		if failing {
			faults.Fail(vfstest.Once(vfstest.Write, 0, syscall.ENOSPC))
		}
		if err := v.flush(); (err != nil) != failing {
			t.Fatalf("flush %d: %v", n, err)
		}
		faults.Fail(nil)
	}
	v := &victim{s: ts.Store, number: 1, tombs: map[tomb][]uint64{}}
	if err := v.reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	ts.withoutIndex()
	for drop, want := range map[store.MaildropID]int{1: 28, 2: 30} {
		ts.drop = drop
		if n := len(ts.pick().Messages()); n != want {
			t.Errorf("maildrop %d has %d messages after a rebuild, want %d", drop, n, want)
		}
	}
}

// TestDeletionOutlivesSegment: a deletion is carried forward while an older segment holds what it deleted.
func TestDeletionOutlivesSegment(t *testing.T) {
	ts := newTestStore(t, quiet)
	for range 60 { // four segments, of which the first keeps mail
		ts.send(bytes.Repeat([]byte{'x'}, 4000))
	}
	ts.remove([]int{0})
	for range 60 {
		ts.send(bytes.Repeat([]byte{'y'}, 4000))
	}
	all := indices(119)
	ts.remove(all[20:]) // the segment with the first deletion holds nothing alive now
	ts.reclaim()
	if !ts.log.Has(1) || ts.log.Has(4) {
		t.Fatal("the test wants segment 1 to stay and segment 4 to go")
	}
	ts.withoutIndex()
	if n := len(ts.pick().Messages()); n != 20 {
		t.Errorf("%d messages after a rebuild, want 20", n)
	}
}

// TestConcurrent lets deliveries, drains, reclaim and verify run side by side; with LETTERBOX_LONG for a minute.
func TestConcurrent(t *testing.T) {
	run := 2 * time.Second
	if os.Getenv("LETTERBOX_LONG") != "" {
		run = time.Minute
	}
	ts := newTestStore(t, Options{SegmentBytes: 256 << 10, reclaimInterval: time.Millisecond, BodyMemory: 256 << 10})
	ctx, cancel := context.WithTimeout(t.Context(), run)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent, got := map[store.ID]bool{}, map[store.ID]bool{}
	for w := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for ctx.Err() == nil {
				id := ts.send(bytes.Repeat([]byte{byte(w)}, rng.IntN(20000)))
				mu.Lock()
				sent[id] = true
				mu.Unlock()
			}
		})
	}
	drain := func(share int) {
		m := ts.pick()
		defer m.Close()
		var marks []int
		for i := range m.Messages() {
			if i%7 >= share {
				continue
			}
			if _, err := ts.read(m, i); err != nil {
				t.Error(err)
				return
			}
			marks = append(marks, i)
		}
		if err := m.Commit(context.Background(), marks); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, i := range marks {
			id := m.Messages()[i].ID
			if got[id] || !sent[id] && ctx.Err() != nil {
				t.Errorf("%s came twice, or was never sent", id)
			}
			got[id] = true
		}
	}
	wg.Go(func() {
		for ctx.Err() == nil && !t.Failed() {
			drain(5)
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil && !t.Failed() {
			if found := ts.verify(); len(found) > 0 {
				t.Errorf("verify: %v", found)
			}
		}
	})
	wg.Wait()
	ts.again(Options{}, func(dir string) { os.Remove(filepath.Join(dir, "index.db")) })
	drain(7)
	if len(sent) != len(got) {
		t.Errorf("%d messages were sent, %d came", len(sent), len(got))
	}
	t.Logf("%d messages, %d segments at the end", len(sent), ts.log.Counts().Segments)
}
