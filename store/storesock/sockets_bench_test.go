package storesock_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/storetest"
)

// compare runs both sides in alternating rounds, each in turn first, and reports the median of the rounds' ratios.
func compare(b *testing.B, rounds int, unit string, over, within func() float64) {
	var ratios, overs, withins []float64
	for round := range rounds {
		var o, w float64
		if round%2 == 0 {
			o, w = over(), within()
		} else {
			w, o = within(), over()
		}
		ratios, overs, withins = append(ratios, o/w), append(overs, o), append(withins, w)
	}
	b.ReportMetric(storetest.Median(ratios), "of-in-process")
	b.ReportMetric(storetest.Median(overs), unit)
	b.ReportMetric(storetest.Median(withins), "in-process-"+unit)
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSocketsDeliver holds deliveries over the socket, with the Resolve of their recipient, against the same calls of
// the store itself. Both sides of the socket share this process, so that its cost is that of both.
func BenchmarkSocketsDeliver(b *testing.B) {
	for _, c := range []struct {
		name          string
		size, writers int
	}{
		{"4KiB-64", 4 << 10, 64}, {"4KiB-1", 4 << 10, 1}, {"75KiB-64", 75 << 10, 64},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := withAccounts(b)
			names := []string{me, you}
			body := make([]byte, c.size)
			run := func(d store.Deliverer) func() float64 {
				return func() float64 {
					return storetest.Rate(b, c.writers, 2*time.Second, func() error {
						_, err := deliver(context.Background(), d, names[rand.IntN(2)], body)
						return err
					})
				}
			}
			for b.Loop() {
				compare(b, 7, "msgs/s", run(s.Deliverer), run(s.owner))
			}
		})
	}
}

// fill delivers n messages to me.
func fill(b *testing.B, s *sockets, n, size int) {
	target, err := s.owner.Resolve(context.Background(), store.Attempt{To: me})
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	body := make([]byte, size)
	for range 128 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := deliverTo(context.Background(), s.owner, target.Maildrops[0], body); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkSocketsDrain reads all messages of a maildrop one after the other, over the socket and without.
func BenchmarkSocketsDrain(b *testing.B) {
	for _, size := range []int{4 << 10, 75 << 10, 5 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := withAccounts(b)
			n := min(4000, 100<<20/size)
			fill(b, s, n, size)
			buf := make([]byte, 32<<10)
			run := func(p store.Pickup) func() float64 {
				return func() float64 {
					m := open(b, p, me)
					defer m.Close()
					begin := time.Now()
					for i := range m.Messages() {
						r, err := m.Retrieve(context.Background(), i)
						if err != nil {
							b.Fatal(err)
						}
						if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf); err != nil {
							b.Fatal(err)
						}
						r.Close()
					}
					return float64(n) / time.Since(begin).Seconds()
				}
			}
			for b.Loop() {
				compare(b, 9, "msgs/s", run(s.Pickup), run(s.owner))
			}
		})
	}
}

// BenchmarkSocketsOpen opens a maildrop of 100,000 messages; what checking the password takes is in both sides.
func BenchmarkSocketsOpen(b *testing.B) {
	s := withAccounts(b)
	fill(b, s, 100_000, 100)
	open(b, s.owner, me).Close() // the index has caught up, and the password is hashed as it stays
	run := func(p store.Pickup, took *[]float64) func() float64 {
		return func() float64 {
			begin := time.Now()
			open(b, p, me).Close()
			d := time.Since(begin).Seconds()
			*took = append(*took, d*1e3)
			return 1 / d
		}
	}
	for b.Loop() {
		var over, within []float64
		compare(b, 15, "opens/s", run(s.Pickup, &over), run(s.owner, &within))
		b.ReportMetric(storetest.Median(over), "ms")
		b.ReportMetric(storetest.Median(within), "in-process-ms")
	}
}
