package secret

import (
	"container/list"
	"context"
	"sync"
)

// gate lets work begin while its cost fits into size, in the order of arrival. Work that costs more than size runs alone.
// It is golang.org/x/sync/semaphore with a bound on those who wait.
type gate struct {
	size    int64
	maxWait int

	mu      sync.Mutex
	used    int64
	running int
	waiting list.List // of *waiter
}

type waiter struct {
	cost  int64
	ready chan struct{} // closed once the cost is reserved
}

// enter reserves cost and returns the function that gives it back. It fails with ErrBusy when too many wait already, and
// with the context's error.
func (g *gate) enter(ctx context.Context, cost int64) (leave func(), err error) {
	cost = min(cost, g.size)
	w, elem, err := g.reserve(cost)
	if err != nil {
		return nil, err
	}
	leave = func() { g.release(cost) }
	if w == nil {
		return leave, nil
	}
	select {
	case <-w.ready:
		return leave, nil
	case <-ctx.Done():
		g.abandon(w, elem)
		return nil, ctx.Err()
	}
}

// reserve takes cost at once, or queues a waiter for it.
func (g *gate) reserve(cost int64) (*waiter, *list.Element, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting.Len() == 0 && g.used+cost <= g.size {
		g.used += cost
		g.running++
		return nil, nil, nil
	}
	if g.waiting.Len() >= g.maxWait {
		return nil, nil, ErrBusy
	}
	w := &waiter{cost: cost, ready: make(chan struct{})}
	return w, g.waiting.PushBack(w), nil
}

func (g *gate) release(cost int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= cost
	g.running--
	g.admit()
}

// abandon takes a waiter out of the queue, or gives back what it was granted in the same moment.
func (g *gate) abandon(w *waiter, elem *list.Element) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.ready:
		g.used -= w.cost
		g.running--
	default:
		g.waiting.Remove(elem)
	}
	g.admit()
}

// admit lets in those at the head of the queue that fit. One that does not fit holds up all behind it, so that cheap work
// never starves it.
func (g *gate) admit() {
	for e := g.waiting.Front(); e != nil; e = g.waiting.Front() {
		w := e.Value.(*waiter)
		if g.used+w.cost > g.size {
			return
		}
		g.used += w.cost
		g.running++
		g.waiting.Remove(e)
		close(w.ready)
	}
}

// load returns how much of the work runs, and how much waits.
func (g *gate) load() (running, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running, g.waiting.Len()
}
