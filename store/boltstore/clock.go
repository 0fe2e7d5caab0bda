package boltstore

import "time"

const (
	// clockLeap is how far the clock may be ahead of the newest record when the store is opened, and quarantine how long it
	// must then, and after a jump, have gone evenly before anything expires by it.
	clockLeap  = 24 * time.Hour
	quarantine = 24 * time.Hour
	// clockJump is how much the clock may differ between two looks from what went by, and is set right in that time.
	clockJump = 5 * time.Minute
)

// clockWatch decides whether the clock may be believed when it says that mail is old. A home server's clock may start in
// 1970 or ten years ahead, and be set right a while later: what expires by such a clock is lost. It is used by one
// goroutine.
type clockWatch struct {
	now     func() time.Time     // the clock, which may be wrong
	elapsed func() time.Duration // what really went by since some moment
	built   time.Time            // when the program was built: no true clock is behind that

	last   time.Time     // what the clock said at the last look
	seen   time.Duration // when that was
	doubts bool
	since  time.Duration // when the doubts began
}

// newClockWatch begins to watch. newest is the time of the newest record of the store, by which it was some time already.
func newClockWatch(now func() time.Time, elapsed func() time.Duration, built, newest time.Time) *clockWatch {
	w := &clockWatch{now: now, elapsed: elapsed, built: built, last: now(), seen: elapsed()}
	if w.last.Sub(newest) > clockLeap && !newest.IsZero() {
		w.doubts, w.since = true, w.seen
	}
	return w
}

// trusted looks at the clock. It returns what it says, and whether that may be believed.
func (w *clockWatch) trusted() (time.Time, bool) {
	now, at := w.now(), w.elapsed()
	drift := now.Round(0).Sub(w.last.Round(0)) - (at - w.seen)
	if drift > clockJump || drift < -clockJump {
		w.doubts, w.since = true, at
	}
	w.last, w.seen = now, at
	if w.doubts && at-w.since >= quarantine {
		w.doubts = false
	}
	return now, !w.doubts && !now.Before(w.built)
}
