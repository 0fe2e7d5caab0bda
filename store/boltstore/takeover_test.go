package boltstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// cheapStore has an account whose password is "right" and costs next to nothing.
func cheapStore(t *testing.T, o Options) *testStore {
	t.Helper()
	o.keepHashes = true
	ts := newTestStore(t, o)
	hash, err := cheapHash("right")
	if err != nil {
		t.Fatal(err)
	}
	ts.apply(store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: hash})
	return ts
}

func (ts *testStore) openBy(password string) (*maildrop, error) {
	m, err := ts.Open(ts.Context(), store.Login{Name: "me", Secret: password})
	if err != nil {
		return nil, err
	}
	return m.(*maildrop), nil
}

// TestTakeOverWaitsForCommit: a QUIT that has begun is waited for, however silent its session was, and the login sees what it
// deleted; it needs no Close.
func TestTakeOverWaitsForCommit(t *testing.T) {
	clock := &testClock{}
	ts := cheapStore(t, Options{Now: clock.now, Logins: LoginPolicy{TakeoverAfter: time.Minute}})
	for range 3 {
		ts.send([]byte("x\r\n"))
	}
	m, err := ts.openBy("right")
	if err != nil {
		t.Fatal(err)
	}
	ts.moving.Lock() // a deletion that does not end
	committed := make(chan error, 1)
	go func() { committed <- m.Commit(t.Context(), []int{0, 2}) }()
	for begun := false; !begun; {
		m.mu.Lock()
		begun = m.commit != nil
		m.mu.Unlock()
	}
	clock.advance(time.Hour)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ts.Open(impatient, store.Login{Name: "me", Secret: "right"}); !errors.Is(err, context.Canceled) {
		t.Errorf("an impatient login: %v", err)
	}
	opened := make(chan *maildrop, 1)
	go func() {
		next, err := ts.openBy("right")
		if err != nil {
			t.Error(err)
		}
		opened <- next
	}()
	select {
	case <-opened:
		t.Error("a login did not wait for the commit")
	case <-time.After(20 * time.Millisecond): // it may only be late; then nothing is shown, and nothing fails
	}
	ts.moving.Unlock()
	if err := <-committed; err != nil {
		t.Errorf("the commit that was waited for: %v", err)
	}
	if next := <-opened; next == nil || len(next.Messages()) != 1 {
		t.Error("the login does not see what was deleted")
	}
	select {
	case <-m.Lost():
		t.Error("a session that has committed was told that it is lost")
	default:
	}
}

// TestTakeOverRace lets sessions that are taken over at any moment delete what they see. Each message is deleted by one
// session alone; one that has lost deletes nothing; at no time do two hold the lock.
func TestTakeOverRace(t *testing.T) {
	const messages, sessions = 60, 8
	ts := cheapStore(t, Options{Logins: LoginPolicy{TakeoverAfter: time.Microsecond}})
	for range messages {
		ts.send([]byte("x\r\n"))
	}
	var mu sync.Mutex
	deleted := map[store.ID]int{}
	var wins, losses atomic.Int64
	done := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(deleted) == messages
	}
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			for !done() && !t.Failed() {
				m, err := ts.openBy("right")
				if errors.Is(err, store.ErrInUse) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				all := m.Messages()
				if rand.N(2) == 0 {
					time.Sleep(rand.N(200 * time.Microsecond)) // its client is silent
				}
				if len(all) > 0 {
					err = m.Commit(t.Context(), []int{0, len(all) - 1}[:min(2, len(all))])
				}
				switch {
				case err == nil && len(all) > 0:
					wins.Add(1)
					mu.Lock()
					deleted[all[0].ID]++
					if len(all) > 1 {
						deleted[all[len(all)-1].ID]++
					}
					mu.Unlock()
				case errors.Is(err, store.ErrLost):
					losses.Add(1)
				case err != nil:
					t.Error(err)
				}
				m.Close()
			}
		})
	}
	wg.Wait()
	for id, n := range deleted {
		if n != 1 {
			t.Errorf("%s was deleted by %d sessions", id, n)
		}
	}
	m, err := ts.openBy("right")
	if err != nil || len(m.Messages()) != 0 {
		t.Errorf("%d messages are left, %v", len(m.Messages()), err)
	}
	st := ts.Stats()
	if st.Deleted != messages || st.Messages != 0 {
		t.Errorf("%d deleted, %d left, by the store's count", st.Deleted, st.Messages)
	}
	t.Logf("%d sessions committed, %d were taken over", wins.Load(), losses.Load())
}

// TestPasswordRace: once Apply has returned, nobody is logged in by the password of before, and nobody can be, however many
// logins were under way and whatever the cache holds.
func TestPasswordRace(t *testing.T) {
	ts := cheapStore(t, Options{Logins: LoginPolicy{TakeoverAfter: time.Nanosecond}})
	password := "right"
	for round := range 10 {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		opened := make(chan *maildrop, 1<<16)
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if m, err := ts.openBy(password); err == nil {
						opened <- m
					} else if !errors.Is(err, store.ErrInUse) && !errors.Is(err, store.ErrCredential) && !errors.Is(err, store.ErrUnavailable) {
						t.Error(err)
					}
				}
			})
		}
		<-opened // logins are under way
		next := fmt.Sprint("password ", round)
		hash, err := cheapHash(next)
		if err != nil {
			t.Fatal(err)
		}
		ts.apply(store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: hash})
		close(stop)
		wg.Wait()
		close(opened)
		for m := range opened {
			if err := m.Commit(t.Context(), nil); !errors.Is(err, store.ErrLost) {
				t.Fatalf("round %d: a session by the old password lives: %v", round, err)
			}
		}
		if _, err := ts.openBy(password); !errors.Is(err, store.ErrCredential) {
			t.Fatalf("round %d: a login by the old password: %v", round, err)
		}
		password = next
	}
}
