package boltstore

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

// scraped is what a scrape asks the store for.
type scraped struct {
	stats   store.Stats
	waiting []store.Account
}

// scrape asks as the metrics do, and fails where the answer does not come.
func (ts *testStore) scrape() scraped {
	ts.Helper()
	answer := make(chan scraped, 1)
	go func() { answer <- scraped{ts.Stats(), ts.Waiting()} }()
	select {
	case s := <-answer:
		return s
	case <-time.After(patience):
		ts.Error("a scrape waits for what a delivery holds") // the caller frees it
		return scraped{}
	}
}

// TestScrapeBesideDeliveries: a scrape answers while every lock is held that a delivery takes, and while the index is being
// written, and says what is true then.
func TestScrapeBesideDeliveries(t *testing.T) {
	ts := newTestStore(t, quiet)
	ts.keep.Store(&KeepPolicy{AccountMessages: 10})
	ts.send([]byte("one\r\n"))
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	writing, err := ts.index.db.Begin(true) // what comes now stays pending
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ts.send([]byte("two\r\n"))
	locks := []sync.Locker{
		&ts.admission, &ts.moving, &ts.indexer.mu, &ts.ids.mu, &ts.space.mu, &ts.canary.mu, &ts.blockUses.mu, &ts.accounts.mu,
	}
	for _, l := range locks {
		l.Lock()
	}
	got := ts.scrape()
	for _, l := range locks {
		l.Unlock()
	}
	if err := writing.Rollback(); err != nil {
		t.Fatal(err)
	}
	s := got.stats
	if s.Messages != 2 || s.Delivered != 2 || s.Pending != 1 || s.PendingSince.Before(began) || s.QuotaUsed != 0.2 || s.Segments != 1 {
		t.Errorf("%+v", s)
	}
	if len(got.waiting) != 1 || got.waiting[0].Messages != 2 || got.waiting[0].Octets != s.Octets {
		t.Errorf("%+v, want 2 messages of %d octets", got.waiting, s.Octets)
	}
	if err := ts.indexer.settle(0); err != nil {
		t.Fatal(err)
	}
	if s := ts.scrape().stats; s.Pending != 0 || !s.PendingSince.IsZero() {
		t.Errorf("behind the index: %d are pending since %s", s.Pending, s.PendingSince)
	}
}

// TestDeliveriesBesideScrape: mail is taken while a scrape stands still with all that it holds.
func TestDeliveriesBesideScrape(t *testing.T) {
	ts := newTestStore(t, quiet)
	reading, err := ts.index.db.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Rollback() //nolint:errcheck // it never fails
	done := make(chan struct{})
	func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		ts.readers.mu.Lock()
		defer ts.readers.mu.Unlock()
		go func() {
			defer close(done)
			ts.send([]byte("mail\r\n"))
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("a delivery waits for what a scrape holds")
		}
	}()
	<-done
}

// TestWaiting: what is told of accounts without a lock is what the index says, through all that moves it.
func TestWaiting(t *testing.T) {
	ts := newTestStore(t, quiet)
	same := func(when string) {
		t.Helper()
		dir, err := ts.Directory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		waiting := ts.Waiting()
		if len(waiting) != len(dir.Accounts) {
			t.Fatalf("%s: %d accounts, want %d", when, len(waiting), len(dir.Accounts))
		}
		for i, a := range dir.Accounts {
			if w := waiting[i]; w.Address != a.Address || w.Messages != a.Messages || w.Octets != a.Octets {
				t.Errorf("%s: %+v, want %+v", when, w, a)
			}
		}
	}
	same("empty")
	ts.send([]byte("one\r\n"))
	ts.send([]byte("two\r\n"))
	same("delivered")
	ts.remove([]int{0})
	same("deleted")
	ts.again(quiet, nil)
	same("opened again")
	ts.remove([]int{0})
	same("drained")
	ts.send([]byte("three\r\n"))
	same("delivered again")
}

// TestAlive: what the watchdog asks comes back beside mail, while the disk keeps deliveries waiting too, and does not while a
// lock is held that is held for a moment only.
func TestAlive(t *testing.T) {
	ts := newTestStore(t, quiet)
	alive := func() chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			ts.Alive()
		}()
		return done
	}
	ts.send([]byte("mail\r\n"))
	ts.admission.RLock() // as a delivery does that waits for an fdatasync
	<-alive()
	ts.admission.RUnlock()
	for name, lock := range map[string]sync.Locker{"of the index": &ts.indexer.mu, "of sessions": &ts.mu} {
		lock.Lock()
		done := alive()
		select {
		case <-done:
			t.Errorf("the lock %s is held, and all is well", name)
		case <-time.After(50 * time.Millisecond):
		}
		lock.Unlock()
		<-done
	}
}

// slowMark is a disk that does not come to an end with the mark of an index that can't be written.
type slowMark struct {
	vfs.OS
	began, goOn chan struct{}
}

func (s *slowMark) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if strings.HasPrefix(filepath.Base(name), condemnedFile) {
		close(s.began)
		<-s.goOn
	}
	return s.OS.OpenFile(name, flag, perm)
}

// TestAliveBesideACondemnedIndex: while the disk is slow to take down that the index can't be written, nobody waits for it who
// needs no disk: neither a receiver that looks at a quota nor the watchdog, which would end the process in front of the mark.
func TestAliveBesideACondemnedIndex(t *testing.T) {
	disk := &slowMark{began: make(chan struct{}), goOn: make(chan struct{})}
	var broken atomic.Bool
	o := quiet
	o.FS = disk
	o.beforeApply = func() error {
		if broken.Load() {
			return errors.New("the disk is broken")
		}
		return nil
	}
	ts := newTestStore(t, o)
	defer close(disk.goOn)
	broken.Store(true)
	ts.send([]byte("mail\r\n"))
	go ts.indexer.settle(0) //nolint:errcheck // it is there to hurry
	<-disk.began
	done := make(chan struct{})
	go func() {
		defer close(done)
		ts.Alive()
		ts.indexer.holds(ts.drop)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("the lock of the index is held while the disk works")
	}
	if ts.Health() == nil {
		t.Error("the store takes mail as if nothing were")
	}
}

// BenchmarkScrape is what a scrape asks of a store of a million messages in 1,000 maildrops, each of an account with a quota.
func BenchmarkScrape(b *testing.B) {
	s, drops := benchStore(b, 1000)
	s.keep.Store(&KeepPolicy{AccountMessages: 1 << 20})
	fillStore(b, s, drops, 1_000_000, 100)
	b.ResetTimer()
	for b.Loop() {
		if s.Stats().Messages != 1_000_000 || len(s.Waiting()) != len(drops) {
			b.Fatal("not all of it")
		}
	}
}
