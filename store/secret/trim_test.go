package secret

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Memory goes back once after a burst, a second behind its end.
func TestTrimAfterABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var freed atomic.Int64
		tr := trimmer{free: func() { freed.Add(1) }}
		for range 20 { // they overlap, and come closer together than a second
			tr.begin()
			tr.begin()
			time.Sleep(trimQuiet / 2)
			tr.end()
			tr.end()
			time.Sleep(trimQuiet / 2)
		}
		if synctest.Wait(); freed.Load() != 0 {
			t.Fatalf("freed %d times in the middle of a burst", freed.Load())
		}
		time.Sleep(trimQuiet)
		if synctest.Wait(); freed.Load() != 1 {
			t.Errorf("freed %d times behind a burst", freed.Load())
		}
		time.Sleep(time.Hour)
		if synctest.Wait(); freed.Load() != 1 {
			t.Errorf("freed %d times, and nothing was left to free", freed.Load())
		}
	})
}

// A hash every other second does not cost a collection each.
func TestTrimIsRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var freed atomic.Int64
		tr := trimmer{free: func() { freed.Add(1) }}
		for range 50 {
			tr.begin()
			tr.end()
			time.Sleep(2 * trimQuiet)
		}
		time.Sleep(trimInterval)
		synctest.Wait()
		if most := int64(100*trimQuiet/trimInterval) + 1; freed.Load() < 2 || freed.Load() > most {
			t.Errorf("freed %d times in 100 s, want 2 to %d", freed.Load(), most)
		}
	})
}

// What takes long is not disturbed, and what it leaves is freed all the same.
func TestTrimWaitsForWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var freed atomic.Int64
		tr := trimmer{free: func() { freed.Add(1) }}
		tr.begin()
		tr.begin()
		tr.end()
		time.Sleep(time.Minute)
		if synctest.Wait(); freed.Load() != 0 {
			t.Error("freed while a hash is computed")
		}
		tr.end()
		time.Sleep(trimQuiet)
		if synctest.Wait(); freed.Load() != 1 {
			t.Errorf("freed %d times", freed.Load())
		}
	})
}
