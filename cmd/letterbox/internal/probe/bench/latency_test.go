package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestLatency holds percentiles against those of the sorted durations: at most 1/64 above.
func TestLatency(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var a, b Latency
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(random.Uint64() >> (20 + random.IntN(40)))
		all = append(all, d)
		if i%2 == 0 {
			a.Add(d)
		} else {
			b.Add(d)
		}
	}
	a.merge(&b)
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(int(q*float64(len(all))+0.999999)-1, 0)]
		got := a.Percentile(q)
		if got < want || got > want+want/64+1 {
			t.Errorf("percentile %v is %v, want %v", q, got, want)
		}
	}
	if p := a.percentiles(); p.Count != 10_000 || p.Max != float64(all[len(all)-1].Microseconds())/1000 {
		t.Errorf("%+v", p)
	}
	if (&Latency{}).Percentile(0.5) != 0 {
		t.Error("nothing has a percentile")
	}
}
