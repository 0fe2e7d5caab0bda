package boltstore

import (
	"sync"
	"time"
)

const (
	// clockLeap is how far the clock may be ahead of when it was last believed when the store is opened, and quarantine how long
	// it must then, and after a jump, have gone evenly before anything expires by it.
	clockLeap  = 24 * time.Hour
	quarantine = 24 * time.Hour
	// clockJump is how much the clock may differ between two looks from what went by, and is set right in that time.
	clockJump = 5 * time.Minute
)

// clockWatch decides whether the clock may be believed when it says that mail is old. A home server's clock may start in
// 1970 or ten years ahead, and be set right a while later: what expires by such a clock is lost.
type clockWatch struct {
	now     func() time.Time     // the clock, which may be wrong
	elapsed func() time.Duration // what really went by since some moment
	built   time.Time            // when the program was built: no true clock is behind that

	mu     sync.Mutex
	note   clockNote
	last   time.Time     // what the clock said at the last look
	seen   time.Duration // when that was
	doubts bool
	since  time.Duration // since when it goes evenly
}

// newClockWatch begins to watch. What was noted when the store was open before says what time it was already: records do not,
// which a wrong clock gives their times.
func newClockWatch(now func() time.Time, elapsed func() time.Duration, built time.Time, note clockNote) *clockWatch {
	w := &clockWatch{now: now, elapsed: elapsed, built: built, note: note, last: now(), seen: elapsed()}
	w.since = w.seen
	if note.Trusted.IsZero() || w.last.Sub(note.Trusted) <= clockLeap {
		return w
	}
	w.doubts = true
	if off := w.last.Sub(note.Doubted); !note.Doubted.IsZero() && off >= 0 && off <= clockLeap {
		w.since -= note.Even // a machine that is switched off each night is believed some day too
	}
	return w
}

// trusted looks at the clock. It returns what it says, and whether that may be believed.
func (w *clockWatch) trusted() (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, at := w.now(), w.elapsed()
	drift := now.Round(0).Sub(w.last.Round(0)) - (at - w.seen)
	if drift > clockJump || drift < -clockJump {
		w.doubts, w.since = true, at
	}
	w.last, w.seen = now, at
	even := at - w.since
	if w.doubts && even >= quarantine {
		w.doubts = false
	}
	ok := !w.doubts && !now.Before(w.built)
	w.note.look(now, ok, even)
	return now, ok
}

// noted returns what is to be kept of all looks.
func (w *clockWatch) noted() clockNote {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.note
}
