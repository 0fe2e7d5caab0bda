package storetest

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Rate lets workers call f over and over for the duration of slice and returns how often it succeeded in a second. A worker
// whose call fails stops, and the benchmark fails.
func Rate(b *testing.B, workers int, slice time.Duration, f func() error) float64 {
	var n atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	begin := time.Now()
	for range workers {
		wg.Go(func() {
			for !stop.Load() {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	time.Sleep(slice)
	stop.Store(true)
	wg.Wait()
	return float64(n.Load()) / time.Since(begin).Seconds()
}

// Median sorts values, of which there is at least one, and returns the middle one.
func Median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
