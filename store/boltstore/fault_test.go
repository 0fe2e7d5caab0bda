package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs/vfstest"
)

// faultRun is one run of a store over a file system that fails.
type faultRun struct {
	*testing.T
	name   string
	faults *vfstest.Faults
	dir    string
	s      *Store

	sent    map[store.ID][]byte // acknowledged
	refused map[store.ID]bool   // refused, and certainly not there
	gone    map[store.ID]bool   // deletion acknowledged
	unsure  map[store.ID]bool   // the outcome of a delivery or deletion is not known
}

func newFaultRun(t *testing.T, name string) *faultRun {
	return &faultRun{
		T: t, name: name, faults: vfstest.NewFaults(), dir: scratch(t),
		sent: map[store.ID][]byte{}, refused: map[store.ID]bool{}, gone: map[store.ID]bool{}, unsure: map[store.ID]bool{},
	}
}

func (r *faultRun) options() Options {
	return Options{Create: true, FS: r.faults, SegmentBytes: 16 << 10, BodyMemory: 2 * firstPiece, reclaimInterval: time.Millisecond}
}

// open opens the store; with faults in place it may fail.
func (r *faultRun) open(o Options) error {
	s, err := Open(r.dir, o)
	if err != nil {
		return err
	}
	r.s = s
	if len(s.accounts.directory().accounts) == 0 {
		_, err = s.Apply(context.Background(), 0, []store.Edit{{Op: store.AddAccount, Address: "me@here.example", Hash: testHash}})
	}
	return err
}

// deliver sends one message and takes down what was said of it.
func (r *faultRun) deliver(size int) {
	d, err := r.s.Begin(context.Background(), store.Envelope{})
	if err != nil {
		return
	}
	defer d.Discard()
	if _, err := io.Copy(struct{ io.Writer }{d}, bytes.NewReader(pattern(size))); err != nil {
		r.temporary("write", err)
		r.refused[d.ID()] = true
		return
	}
	err = d.Commit(context.Background(), store.Final{Recipients: []store.Recipient{{Maildrop: 1}}})
	switch {
	case err == nil:
		r.sent[d.ID()] = pattern(size)
	case r.s.Health() != nil:
		r.temporary("commit", err)
		r.unsure[d.ID()] = true
	default:
		r.temporary("commit", err)
		r.refused[d.ID()] = true
	}
}

func (r *faultRun) temporary(what string, err error) {
	r.Helper()
	if !store.Temporary(err) {
		r.Errorf("%s: %s failed for good: %v", r.name, what, err)
	}
}

// drain reads everything and deletes every second message.
func (r *faultRun) drain() {
	m := lockable(r.s, 1)
	if r.s.take(context.Background(), m) != nil {
		return
	}
	defer m.Close()
	if m.load() != nil {
		return
	}
	ts := &testStore{T: r.T, Store: r.s}
	var marks []int
	for i, msg := range m.Messages() {
		got, err := ts.read(m, i)
		if want := r.sent[msg.ID]; err == nil && want != nil && !bytes.Equal(got, want) {
			r.Errorf("%s: %s has %d octets, want %d", r.name, msg.ID, len(got), len(want))
		}
		if i%2 == 0 {
			marks = append(marks, i)
		}
	}
	err := m.Commit(context.Background(), marks)
	for _, i := range marks {
		switch id := m.Messages()[i].ID; {
		case err == nil:
			r.gone[id] = true
		case r.s.Health() != nil:
			r.unsure[id] = true
		}
	}
}

func (r *faultRun) work() {
	for i := range 12 {
		r.deliver(i * 900)
		if i%4 == 3 {
			r.drain()
		}
	}
}

// whole opens the store without faults and holds it against what was said.
func (r *faultRun) whole() {
	r.Helper()
	r.faults.Fail(nil)
	if r.s != nil {
		r.s.Close() //nolint:errcheck // it may fail, since it did not stop in order
		r.s = nil
	}
	if err := r.open(r.options()); err != nil {
		r.Errorf("%s: does not open afterwards: %v", r.name, err)
		return
	}
	defer r.s.Close()
	ts := &testStore{T: r.T, Store: r.s, drop: 1}
	m := ts.pick()
	defer m.Close()
	here := map[store.ID]bool{}
	for i, msg := range m.Messages() {
		here[msg.ID] = true
		got, err := ts.read(m, i)
		if err != nil || r.sent[msg.ID] != nil && !bytes.Equal(got, r.sent[msg.ID]) {
			r.Errorf("%s: afterwards %s has %d octets, %v", r.name, msg.ID, len(got), err)
		}
		if r.refused[msg.ID] || r.gone[msg.ID] {
			r.Errorf("%s: afterwards %s is there, though it was refused (%t) or deleted (%t)", r.name, msg.ID, r.refused[msg.ID], r.gone[msg.ID])
		}
	}
	for id := range r.sent {
		if !here[id] && !r.gone[id] && !r.unsure[id] {
			r.Errorf("%s: afterwards %s is lost", r.name, id)
		}
	}
	r.deliver(10)
	if len(m.Messages()) > 0 && r.s.Health() != nil {
		r.Errorf("%s: afterwards: %v", r.name, r.s.Health())
	}
}

// TestFault lets each kind of call fail at each of its occurrences, once and for ever: nothing is acknowledged that is not
// durable, what is refused is not there, nothing hangs, and the next start is whole again. The short form takes some of
// the occurrences.
func TestFault(t *testing.T) {
	step := 4
	if os.Getenv("LETTERBOX_LONG") != "" {
		step = 1
	}
	calls := []vfstest.Call{
		vfstest.Open, vfstest.Mkdir, vfstest.Rename, vfstest.Remove, vfstest.ReadDir, vfstest.SyncDir, vfstest.Write,
		vfstest.Truncate, vfstest.Sync,
	}
	for _, call := range calls {
		for mode, decide := range map[string]func(vfstest.Call, int, error) func(vfstest.Call, string) error{
			"once": vfstest.Once, "ever": vfstest.Ever,
		} {
			t.Run(string(call)+"-"+mode, func(t *testing.T) {
				occurrences := count(t, call)
				for n := 0; n <= occurrences; n += step {
					r := newFaultRun(t, fmt.Sprintf("%s %d %s", call, n, mode))
					errno := []error{syscall.EIO, syscall.ENOSPC}[n%2]
					r.faults.Fail(decide(call, n, errno))
					if err := r.open(r.options()); err == nil {
						r.work()
					} else if r.s != nil {
						r.s.Close()
						r.s = nil
					}
					r.whole()
				}
			})
		}
	}
}

// count says how often an undisturbed run makes a call.
func count(t *testing.T, call vfstest.Call) int {
	r := newFaultRun(t, "count")
	var n atomic.Int64
	r.faults.Fail(func(c vfstest.Call, _ string) error {
		if c == call {
			n.Add(1)
		}
		return nil
	})
	if err := r.open(r.options()); err != nil {
		t.Fatal(err)
	}
	r.work()
	r.faults.Fail(nil)
	r.s.Close()
	return int(n.Load())
}

// TestIndexCondemned: when a transaction of the index fails, mail goes on being acknowledged or is refused, and the next
// start rebuilds the index.
func TestIndexCondemned(t *testing.T) {
	for n := range 3 {
		r := newFaultRun(t, fmt.Sprintf("index transaction %d", n))
		o := r.options()
		o.beforeApply = func() error {
			if n--; n < 0 {
				return errors.New("meta page could not be synced")
			}
			return nil
		}
		if err := r.open(o); err == nil {
			r.work()
			if _, err := os.Stat(filepath.Join(r.dir, condemnedFile)); err != nil {
				t.Errorf("%s: no mark: %v", r.name, err)
			}
		}
		r.whole()
		if _, err := os.Stat(filepath.Join(r.dir, condemnedFile)); err == nil {
			t.Errorf("%s: the mark is still there", r.name)
		}
	}
}
