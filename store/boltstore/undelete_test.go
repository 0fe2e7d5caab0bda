package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

// slowBody holds up the sync of the next body until it is let go.
type slowBody struct {
	vfs.OS
	mu      sync.Mutex
	armed   bool
	reached chan struct{}
	let     chan struct{}
}

func (f *slowBody) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	file, err := f.OS.OpenFile(name, flag, perm)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && f.armed && strings.Contains(name, "/bodies/") && flag&os.O_CREATE != 0 {
		f.armed = false
		return &slowFile{file, f}, nil
	}
	return file, err
}

func (f *slowBody) arm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = true
}

type slowFile struct {
	vfs.File
	fs *slowBody
}

func (f *slowFile) Sync() error {
	close(f.fs.reached)
	<-f.fs.let
	return f.File.Sync()
}

// endsOrHas returns once what begins has ended, or somebody has a lock or waits for it.
func endsOrHas(began func(), lock *sync.RWMutex) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		began()
	}()
	for {
		select {
		case <-ended:
			return ended
		default:
		}
		if !lock.TryRLock() {
			return ended
		}
		lock.RUnlock()
		runtime.Gosched()
	}
}

// TestUndeleteBesideEditAndReclaim: an undelete of a large message, whose body takes long to be durable, an edit of the accounts and a
// reclaim beside each other come to an end, in whatever order they take what they exclude each other with.
func TestUndeleteBesideEditAndReclaim(t *testing.T) {
	disk := &slowBody{reached: make(chan struct{}), let: make(chan struct{})}
	ts := newTestStore(t, Options{FS: disk, SegmentBytes: 64 << 10, reclaimInterval: time.Hour, keepInterval: time.Hour, Keep: KeepPolicy{UndeleteFor: time.Hour}})
	ts.send(pattern(2 * maxInMemory))
	ts.remove([]int{0})
	disk.arm()
	undeleted := make(chan struct{})
	go func() {
		defer close(undeleted)
		if n, err := ts.Undelete(ts.Context(), "me@here.example", time.Time{}); err != nil || n != 1 {
			t.Errorf("%d messages are back: %v", n, err)
		}
	}()
	<-disk.reached
	reclaimed := endsOrHas(func() { // as victim.flush
		ts.moving.Lock()
		defer ts.moving.Unlock()
	}, &ts.moving)
	edited := endsOrHas(func() {
		if _, err := ts.Apply(ts.Context(), 0, []store.Edit{{Op: store.AddAlias, Address: "all@here.example", Targets: []string{"me@here.example"}}}); err != nil {
			t.Error(err)
		}
	}, &ts.admission)
	close(disk.let)
	timeout := time.After(patience)
	for _, ended := range []chan struct{}{undeleted, reclaimed, edited} {
		select {
		case <-ended:
		case <-timeout:
			panic("undelete, edit and reclaim wait for one another: the store could not even be closed")
		}
	}
}

// rotten flips one octet in the body of a message, which is small.
func (ts *testStore) rotten(i int) (id store.ID) {
	ts.Helper()
	m := ts.pick()
	defer m.Close()
	at := m.places[i].pos()
	flip(ts.T, filepath.Join(ts.dir, "log", fmt.Sprintf("%016d.seg", at.Segment)), at.Offset+200)
	return m.Messages()[i].ID
}

// TestUndeleteOfADamagedStore: a message that can't be read keeps no other in the bin, and is told of.
func TestUndeleteOfADamagedStore(t *testing.T) {
	ts := newTestStore(t, Options{reclaimInterval: time.Hour, keepInterval: time.Hour, Keep: KeepPolicy{UndeleteFor: time.Hour}})
	for i := range 5 {
		ts.send(bytes.Repeat(fmt.Appendf(nil, "message %d\r\n", i), 20))
	}
	ts.rotten(0)
	ts.remove(indices(5))
	for _, back := range []int{4, 0} {
		if n, err := ts.Undelete(t.Context(), "me@here.example", time.Time{}); n != back || !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%d messages are back, want %d: %v", n, back, err)
		}
	}
	if n := len(ts.pick2()); n != 4 {
		t.Errorf("%d messages wait", n)
	}
}
