package secret

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func mustEnter(t *testing.T, g *gate, cost int64) func() {
	t.Helper()
	leave, err := g.enter(t.Context(), cost)
	if err != nil {
		t.Fatal(err)
	}
	return leave
}

// Those who wait go in the order in which they came, also when a later one would fit.
func TestGateIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{size: 10, maxWait: 8}
		first := mustEnter(t, g, 6)
		var order []int64
		var mu sync.Mutex
		for _, cost := range []int64{9, 2, 9} {
			go func() {
				leave := mustEnter(t, g, cost)
				mu.Lock()
				order = append(order, cost)
				mu.Unlock()
				leave()
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Fatalf("%v passed a waiter that came before", order)
		}
		first()
		synctest.Wait()
		if !slices.Equal(order, []int64{9, 2, 9}) {
			t.Errorf("order %v", order)
		}
	})
}

// Work that costs more than there is runs alone instead of never.
func TestGateHugeCostRunsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{size: 10, maxWait: 8}
		leave := mustEnter(t, g, 1000)
		in := make(chan func(), 1)
		go func() { in <- mustEnter(t, g, 1) }()
		synctest.Wait()
		if len(in) != 0 {
			t.Fatal("a second one runs beside it")
		}
		leave()
		(<-in)()
		if g.used != 0 {
			t.Errorf("%d still reserved", g.used)
		}
	})
}

func TestGateBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{size: 1, maxWait: 2}
		leave := mustEnter(t, g, 1)
		var done sync.WaitGroup
		for range 2 {
			done.Go(func() { mustEnter(t, g, 1)() })
		}
		synctest.Wait()
		if _, err := g.enter(t.Context(), 1); !errors.Is(err, ErrBusy) {
			t.Errorf("the third who waits: %v", err)
		}
		leave()
		done.Wait()
		mustEnter(t, g, 1)()
	})
}

// A waiter at the head that gives up lets those behind it in.
func TestGateAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{size: 10, maxWait: 8}
		leave := mustEnter(t, g, 5)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := g.enter(ctx, 10)
			failed <- err
		}()
		synctest.Wait()
		in := make(chan func(), 1)
		go func() { in <- mustEnter(t, g, 5) }()
		synctest.Wait()
		if len(in) != 0 {
			t.Fatal("the second waiter passed the first")
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		(<-in)()
		leave()
		if g.used != 0 || g.waiting.Len() != 0 {
			t.Errorf("%d reserved, %d wait", g.used, g.waiting.Len())
		}
	})
}

// Under load with contexts that end at any moment, the sum never exceeds the size and nothing is left over.
func TestGateUnderLoad(t *testing.T) {
	g := &gate{size: 10, maxWait: 1000}
	var sum, most atomic.Int64
	var done sync.WaitGroup
	for worker := range 20 {
		done.Go(func() {
			for i := range 200 {
				cost := int64(1 + (worker+i)%10)
				ctx, cancel := context.WithCancel(t.Context())
				if (worker+i)%3 == 0 {
					go cancel()
				}
				leave, err := g.enter(ctx, cost)
				if err == nil {
					now := sum.Add(cost)
					for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
					}
					sum.Add(-cost)
					leave()
				}
				cancel()
			}
		})
	}
	done.Wait()
	if most.Load() > g.size || g.used != 0 || g.waiting.Len() != 0 {
		t.Errorf("at most %d at once, %d still reserved, %d wait", most.Load(), g.used, g.waiting.Len())
	}
}

// A Verifier that has room for one check at a time finishes them all.
func TestVerifierQueues(t *testing.T) {
	v := NewVerifier(1)
	hash := "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() { check(t, v, hash, "x", false, false) })
	}
	done.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	leave := mustEnter(t, &v.gate, 1)
	defer leave()
	if _, _, err := v.Verify(ctx, hash, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("a check that waits does not end with its context: %v", err)
	}
}
