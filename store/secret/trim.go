package secret

import (
	"sync"
	"time"
)

// A hash leaves 19 MiB of garbage, which the runtime keeps for the next one: up to twice what the gate lets in, in a process
// that needs a tenth of that otherwise. It goes back to the system when no hash was computed for trimQuiet, and at most once
// in trimInterval, since the collection that comes with it costs what the heap is large.
const (
	trimQuiet    = time.Second
	trimInterval = 10 * time.Second
)

// trimmer calls free some time after work that took much memory has ended. The zero value of its other fields is ready.
type trimmer struct {
	free func() // runs on a goroutine of its own

	mu      sync.Mutex
	running int
	timer   *time.Timer // nil before the first end
	last    time.Time   // when free was called; zero: never
}

// begin says that work begins: nothing is freed until it has ended.
func (t *trimmer) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running++
	if t.timer != nil {
		t.timer.Stop() // fire looks again, should it come too late
	}
}

// end says that work has ended.
func (t *trimmer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running--; t.running > 0 {
		return
	}
	wait := trimQuiet
	if !t.last.IsZero() {
		wait = max(wait, trimInterval-time.Since(t.last))
	}
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, t.fire)
	} else {
		t.timer.Reset(wait)
	}
}

// fire frees, unless work has begun meanwhile: its end sets the timer anew.
func (t *trimmer) fire() {
	t.mu.Lock()
	busy := t.running > 0
	if !busy {
		t.last = time.Now()
	}
	t.mu.Unlock()
	if !busy {
		t.free()
	}
}
