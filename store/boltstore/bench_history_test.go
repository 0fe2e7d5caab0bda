package boltstore

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/storetest"
)

// BenchmarkDeliverHistory compares deliveries with a history with those without one: rounds in which each is first in turn, on
// one store. The metric is the ratio of the medians.
func BenchmarkDeliverHistory(b *testing.B) {
	for _, writers := range []int{64, 8, 1} {
		b.Run(fmt.Sprintf("4KiB-%d", writers), func(b *testing.B) {
			s, drops := benchStore(b, 100)
			body := make([]byte, 4<<10)
			one := func() error { return deliverNoted(s, drops[rand.IntN(len(drops))], body) }
			rate := func(on bool) float64 {
				var p KeepPolicy
				if on {
					p.HistoryFor, p.HistoryBytes = 30*24*time.Hour, 64<<20
				}
				s.SetKeep(p)
				return storetest.Rate(b, writers, 2500*time.Millisecond, one)
			}
			for b.Loop() {
				var with, without []float64
				rate(true) // warms up
				for round := range 12 {
					first := rate(round%2 == 0)
					second := rate(round%2 == 1)
					if round%2 == 1 {
						first, second = second, first
					}
					with, without = append(with, first), append(without, second)
				}
				b.ReportMetric(storetest.Median(with)/storetest.Median(without), "of-without")
				b.ReportMetric(storetest.Median(with), "msgs/s")
				b.ReportMetric(storetest.Median(without), "without-msgs/s")
				b.ReportMetric(float64(s.history.Dropped()), "dropped")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// deliverNoted is deliverOne with what a receiver tells the history.
func deliverNoted(s *Store, drop store.MaildropID, body []byte) error {
	return deliverFrom(s, drop, body, store.Origin{
		Peer: netip.AddrFrom4([4]byte{192, 0, 2, 1}), MessageID: "20261126120000.4711ABCDEF@mx.sender.example", Paths: []string{"u7@bench.test"},
	})
}
