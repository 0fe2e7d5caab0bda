package boltstore

import (
	"testing"
	"time"
)

// TestClockWatch is a day of trouble with the clock, look by look.
func TestClockWatch(t *testing.T) {
	built := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	newest := built.AddDate(0, 6, 0)
	type look struct {
		after   time.Duration // what went by since the look before
		clock   time.Time     // zero: it went evenly
		trusted bool
	}
	for name, c := range map[string]struct {
		start  time.Time
		newest time.Time
		looks  []look
	}{
		"a clock that is right": {newest.Add(time.Hour), newest, []look{{time.Minute, time.Time{}, true}, {100 * time.Hour, time.Time{}, true}}},
		"a new store":           {newest, time.Time{}, []look{{time.Minute, time.Time{}, true}}},
		"a leap second":         {newest, newest, []look{{time.Minute, newest.Add(59 * time.Second), true}}},
		"set right at start from 1970": {time.Unix(100, 0), newest, []look{
			{time.Minute, time.Time{}, false},           // behind the build
			{time.Minute, newest.Add(time.Hour), false}, // set right: a jump
			{23 * time.Hour, time.Time{}, false},        // has not gone evenly for a day
			{time.Hour + time.Minute, time.Time{}, true},
		}},
		"ten years ahead at start": {newest.AddDate(10, 0, 0), newest, []look{
			{time.Minute, time.Time{}, false},
			{time.Hour, newest.Add(2 * time.Hour), false}, // set right
			{25 * time.Hour, time.Time{}, true},
		}},
		"ten years ahead for an hour": {newest, newest, []look{
			{time.Hour, time.Time{}, true},
			{time.Hour, newest.AddDate(10, 0, 0), false},
			{time.Hour, newest.Add(3 * time.Hour), false},
			{23 * time.Hour, time.Time{}, false},
			{2 * time.Hour, time.Time{}, true},
		}},
		"off for a month": {newest.AddDate(0, 1, 0), newest, []look{
			{23 * time.Hour, time.Time{}, false},
			{time.Hour, time.Time{}, true},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			clock, went := c.start, time.Duration(0)
			w := newClockWatch(func() time.Time { return clock }, func() time.Duration { return went }, built, clockNote{Trusted: c.newest})
			for i, l := range c.looks {
				went += l.after
				clock = clock.Add(l.after)
				if !l.clock.IsZero() {
					clock = l.clock
				}
				if now, ok := w.trusted(); ok != l.trusted || !now.Equal(clock) {
					t.Errorf("look %d at %v: %v, %t", i, clock, now, ok)
				}
			}
		})
	}
}
