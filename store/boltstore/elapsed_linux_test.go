package boltstore

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestElapsedCountsSuspension: what went by is what CLOCK_BOOTTIME says, which counts the time that the machine slept
// (clock_gettime(2)).
func TestElapsedCountsSuspension(t *testing.T) {
	boot := func() time.Duration {
		var at unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &at); err != nil {
			t.Skip(err)
		}
		return time.Duration(at.Nano())
	}
	var o Options
	o.defaults()
	before, got, after := boot(), o.elapsed(), boot()
	if got < before || got > after {
		t.Errorf("%s is not between %s and %s", got, before, after)
	}
}
