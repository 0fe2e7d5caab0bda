package bench

import (
	"math/bits"
	"time"
)

// steps is how many buckets each doubling of a duration has: what Percentile says is at most 1/64 too large.
const steps = 64

// Latency counts durations in buckets, in 10 KiB whatever their number. The zero value counts nothing yet.
type Latency struct {
	counts [40 * steps]uint32
	n      int64
	max    time.Duration
}

// Add counts one duration.
func (l *Latency) Add(d time.Duration) {
	l.counts[bucket(d)]++
	l.n++
	l.max = max(l.max, d)
}

// bucket is the index of d's bucket. Durations below 2*steps nanoseconds have one each; above, each doubling has steps.
func bucket(d time.Duration) int {
	n := uint64(max(d, 0))
	shift := bits.Len64(n / (2 * steps))
	return min(shift*steps+int(n>>shift), 40*steps-1)
}

// top is the largest duration of a bucket.
func top(i int) time.Duration {
	shift := max(i/steps-1, 0)
	return time.Duration((uint64(i-shift*steps)+1)<<shift - 1)
}

// merge adds what other counted.
func (l *Latency) merge(other *Latency) {
	for i, n := range other.counts {
		l.counts[i] += n
	}
	l.n += other.n
	l.max = max(l.max, other.max)
}

// Percentile returns the duration that the share q of all did not exceed; 0 where nothing was counted.
func (l *Latency) Percentile(q float64) time.Duration {
	want := int64(q*float64(l.n) + 0.999999)
	for i, n := range l.counts {
		if want -= int64(n); want <= 0 && n > 0 {
			return min(top(i), l.max)
		}
	}
	return 0
}

// Percentiles is a Latency as it is printed, in milliseconds.
type Percentiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func (l *Latency) percentiles() Percentiles {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Percentiles{l.n, ms(l.Percentile(0.5)), ms(l.Percentile(0.9)), ms(l.Percentile(0.99)), ms(l.max)}
}
