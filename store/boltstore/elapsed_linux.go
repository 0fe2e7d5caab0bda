package boltstore

import (
	"time"

	"golang.org/x/sys/unix"
)

// elapsed returns what really went by since some moment. It goes on while the machine is suspended, as Go's own does not: one that
// sleeps at night would find its clock ahead each morning, and never believe it.
func elapsed() func() time.Duration {
	began := time.Now()
	return func() time.Duration {
		var at unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &at) != nil {
			return time.Since(began) // then it never works
		}
		return time.Duration(at.Nano())
	}
}
