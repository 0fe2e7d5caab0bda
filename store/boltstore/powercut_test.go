package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs/vfstest"
)

const never = int(^uint(0) >> 1)

// fate is what a run knows of one message, in numbers of recorded changes.
type fate struct {
	body         []byte
	acknowledged int // it is durable from here on
	deleting     int // its deletion may have begun here
	deleted      int // its deletion is durable from here on
}

// indexImage is index.db as it was after one of its transactions.
type indexImage struct {
	begun, durable int
	file           []byte
}

// recording is a run of a store whose changes were recorded.
type recording struct {
	*testing.T
	dir      string
	rec      *vfstest.Recorder
	ready    int // changes before the run
	accounts []byte

	mu     sync.Mutex
	fates  map[store.ID]*fate
	images []indexImage
	begun  int // of the transaction that runs

	scratch string
}

func (r *recording) snapshot(ix *index) {
	n := r.rec.Len()
	var buf bytes.Buffer
	if err := ix.db.View(func(tx *bbolt.Tx) error { _, err := tx.WriteTo(&buf); return err }); err != nil {
		r.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images = append(r.images, indexImage{r.begun, n, buf.Bytes()})
}

func (r *recording) begin() error {
	n := r.rec.Len()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = n
	return nil
}

// record makes a run: deliveries from two sides, drains, large bodies, reclaim.
func record(t *testing.T) *recording {
	dir := scratch(t)
	r := &recording{T: t, dir: dir, rec: vfstest.NewRecorder(dir), fates: map[store.ID]*fate{}, scratch: scratch(t)}
	s, err := Open(dir, Options{
		Create: true, FS: r.rec, SegmentBytes: 24 << 10, BodyMemory: 2 * firstPiece, reclaimInterval: 2 * time.Millisecond,
		beforeApply: r.begin, afterApply: r.snapshot,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ts := &testStore{T: t, Store: s, drop: 1}
	if _, err := s.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: "me@here.example", Hash: testHash}}); err != nil {
		t.Fatal(err)
	}
	if r.accounts, err = os.ReadFile(filepath.Join(dir, "accounts.db")); err != nil {
		t.Fatal(err)
	}
	r.ready = r.rec.Len()
	r.begun = r.ready
	r.snapshot(s.index)
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(w)))
			for range 25 {
				r.deliver(ts, rng.IntN(12000))
			}
		})
	}
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(8, 8))
		for range 12 {
			r.drain(ts, rng)
		}
	})
	wg.Wait()
	return r
}

func (r *recording) deliver(ts *testStore, size int) {
	d := ts.begin(pattern(size))
	f := &fate{body: pattern(size), acknowledged: never, deleting: never, deleted: never}
	r.mu.Lock()
	r.fates[d.ID()] = f
	r.mu.Unlock()
	if err := d.Commit(context.Background(), ts.to()); err != nil {
		r.Error(err)
	}
	n := r.rec.Len()
	r.mu.Lock()
	defer r.mu.Unlock()
	f.acknowledged = n
}

func (r *recording) drain(ts *testStore, rng *rand.Rand) {
	m := ts.pick()
	defer m.Close()
	var marks []int
	n := r.rec.Len()
	r.mu.Lock()
	for i, msg := range m.Messages() {
		if rng.IntN(3) > 0 {
			marks = append(marks, i)
			r.fates[msg.ID].deleting = n
		}
	}
	r.mu.Unlock()
	if err := m.Commit(context.Background(), marks); err != nil {
		r.Error(err)
	}
	n = r.rec.Len()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range marks {
		r.fates[m.Messages()[i].ID].deleted = n
	}
}

// cut opens the store as a loss of power after n changes leaves it, and holds it against what was acknowledged by then.
func (r *recording) cut(name string, n int, keep vfstest.Keep) {
	dir, err := os.MkdirTemp(r.scratch, "cut")
	if err != nil {
		r.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := r.rec.Cut(dir, n, keep); err != nil {
		r.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "accounts.db"), r.accounts, 0o600)
	var index []byte
	for _, image := range r.images {
		if image.durable <= n || image.begun <= n && index != nil && keep() {
			index = image.file
		}
	}
	os.WriteFile(filepath.Join(dir, "index.db"), index, 0o600)
	r.check(name, n, dir)
}

// check opens what is left in dir, and holds it against what was acknowledged after n changes.
func (r *recording) check(name string, n int, dir string) {
	s, err := Open(dir, Options{reclaimInterval: time.Hour})
	if err != nil {
		r.Errorf("%s after %d changes: %v", name, n, err)
		return
	}
	defer s.Close()
	ts := &testStore{T: r.T, Store: s, drop: 1}
	m := ts.pick()
	here := map[store.ID]bool{}
	for i, msg := range m.Messages() {
		f := r.fates[msg.ID]
		if f == nil || f.deleted <= n || here[msg.ID] {
			r.Errorf("%s after %d changes: %s is there: deleted or unknown, or twice", name, n, msg.ID)
			continue
		}
		here[msg.ID] = true
		if got, err := ts.read(m, i); err != nil || !bytes.Equal(got, f.body) {
			r.Errorf("%s after %d changes: %s has %d octets, want %d; %v", name, n, msg.ID, len(got), len(f.body), err)
		}
	}
	for id, f := range r.fates {
		if f.acknowledged <= n && f.deleting >= n && !here[id] {
			r.Errorf("%s after %d changes: %s is lost", name, n, id)
		}
	}
}

// TestPowerCut: at the sync points of a recorded run, with nothing, everything and seeded choices of what was not synced,
// the store opens and holds all that was acknowledged. The short form takes one in 20 points.
func TestPowerCut(t *testing.T) {
	r := record(t)
	if t.Failed() {
		return
	}
	step, seeds := 20, 4
	if os.Getenv("LETTERBOX_LONG") != "" {
		step, seeds = 1, 16
	}
	states := 0
	for i, n := range r.rec.SyncPoints() {
		if n < r.ready || i%step != 0 {
			continue
		}
		r.cut("nothing", n, vfstest.Nothing)
		r.cut("everything", n, vfstest.Everything)
		for seed := range seeds {
			r.cut(fmt.Sprintf("choice %d", seed), n, vfstest.Some(uint64(seed)))
		}
		states += 2 + seeds
		if t.Failed() {
			return
		}
	}
	if states < 20 {
		t.Errorf("only %d states: the run was too short", states)
	}
	t.Logf("%d states of %d changes", states, r.rec.Len())
}
