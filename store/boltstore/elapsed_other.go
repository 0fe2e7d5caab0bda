//go:build !linux

package boltstore

import "time"

// elapsed returns what really went by since some moment, but for the time that the machine was suspended.
func elapsed() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}
