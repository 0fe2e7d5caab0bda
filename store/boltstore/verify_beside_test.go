package boltstore

import (
	"context"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store/vfs"
)

// atFirstLook is a context that calls f when it is first asked.
type atFirstLook struct {
	context.Context
	once sync.Once
	f    func()
}

func (c *atFirstLook) Err() error {
	c.once.Do(c.f)
	return c.Context.Err()
}

// largeDeletion is a store with more mail than one transaction deletes. The next deletion stops between two of them: between is closed
// then, and goOn waited for.
func largeDeletion(t *testing.T) (ts *testStore, arm func() (between, goOn chan struct{})) {
	t.Helper()
	var mu sync.Mutex
	var between, goOn chan struct{}
	ts = newTestStore(t, Options{reclaimInterval: time.Hour, keepInterval: time.Hour, auditDelay: time.Hour, afterApply: func(*index) {
		mu.Lock()
		first := between
		between = nil
		mu.Unlock()
		if first != nil {
			close(first)
			<-goOn
		}
	}})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range indexBatch/deletionWeight/40 + 1 {
				ts.send([]byte("hello\r\n"))
			}
		})
	}
	wg.Wait()
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	return ts, func() (chan struct{}, chan struct{}) {
		mu.Lock()
		defer mu.Unlock()
		between, goOn = make(chan struct{}), make(chan struct{})
		return between, goOn
	}
}

// waited returns once somebody waits for what is pending.
func (ts *testStore) waited() {
	for {
		ts.indexer.mu.Lock()
		urgent := ts.indexer.urgent
		ts.indexer.mu.Unlock()
		if urgent {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestVerifyBesideLargeDeletion: verify and the audit in the background find no damage between two transactions of one deletion.
func TestVerifyBesideLargeDeletion(t *testing.T) {
	ts, arm := largeDeletion(t)
	m := ts.pick()
	n := len(m.Messages())
	quit := make(chan error, 1)
	ctx := &atFirstLook{Context: t.Context(), f: func() {
		between, goOn := arm()
		go func() { quit <- m.Commit(context.Background(), indices(n)) }()
		<-between
		if listed, totals, err := ts.index.balance(); err != nil || listed.messages == totals.present() {
			t.Errorf("%d messages are listed between two transactions, and counted %d: %v", listed.messages, totals.present(), err)
		}
		go func() {
			ts.waited() // for the rest of the deletion
			close(goOn)
		}()
	}}
	v, err := ts.Verify(ctx)
	if err := <-quit; err != nil {
		t.Fatal(err)
	}
	if err != nil || v.Damage != 0 {
		t.Errorf("beside a QUIT of %d messages: %v, %v", n, v.Findings, err)
	}
	if off, err := ts.Mismatch(); err != nil || off != 0 {
		t.Errorf("afterwards the counters are off by %d: %v", off, err)
	}
}

// atFirstSize calls f when it is asked for the size of a file, once after it was armed.
type atFirstSize struct {
	vfs.OS
	armed atomic.Bool
	f     func()
}

func (a *atFirstSize) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	file, err := a.OS.OpenFile(name, flag, perm)
	return sizedFile{file, a}, err
}

type sizedFile struct {
	vfs.File
	of *atFirstSize
}

func (s sizedFile) Size() (int64, error) {
	if s.of.armed.CompareAndSwap(true, false) {
		s.of.f()
	}
	return s.File.Size()
}

// TestVerifyBesideARoll: a segment that is sealed while verify looks which ones are is read like any other.
func TestVerifyBesideARoll(t *testing.T) {
	disk := &atFirstSize{}
	o := quiet
	o.FS = disk
	ts := newTestStore(t, o)
	sent := int64(0)
	for ts.log.Counts().Segments < 4 {
		ts.send(pattern(8000))
		sent++
	}
	ts.send(pattern(8000))
	before := ts.log.Counts().Segments
	disk.f = func() {
		for ts.log.Counts().Segments == before {
			ts.send(pattern(8000))
		}
		if err := ts.indexer.settle(0); err != nil {
			t.Error(err)
		}
	}
	disk.armed.Store(true)
	v, err := ts.Verify(t.Context())
	if err != nil || v.Damage != 0 || v.Records < sent+1 {
		t.Errorf("%d records were read of %d and more: %v, %v", v.Records, sent+1, v.Findings, err)
	}
}
