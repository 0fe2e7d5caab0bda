package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// benchRounds is how often each measurement is made of each shape; the median counts.
const benchRounds = 5

// BenchmarkRoles compares three processes with one, turn by turn in the same run: how much of the one's speed the three have
// for deliveries of 4 KiB and 75 KiB by 50 senders, and for emptying the maildrops by POP3. Run it with -benchtime 1x.
func BenchmarkRoles(b *testing.B) {
	servers := map[string]*server{}
	for _, shape := range []string{shapeServe, shapeRoles} {
		servers[shape] = serveShape(b, shape, filepath.Join(b.TempDir(), "data"), floodArgs()...)
	}
	for b.Loop() {
		small, large, fetch := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
		for range benchRounds {
			for shape, s := range servers {
				small[shape] = append(small[shape], s.deliveries(b, 2000, 4<<10))
				fetch[shape] = append(fetch[shape], s.drains(b))
				large[shape] = append(large[shape], s.deliveries(b, 600, 75<<10))
				s.drains(b)
			}
		}
		for name, rates := range map[string]map[string][]float64{"4KiB": small, "75KiB": large, "drain": fetch} {
			one, three := median(rates[shapeServe]), median(rates[shapeRoles])
			b.ReportMetric(three/one, name+"-ratio")
			b.ReportMetric(one, name+"/s-serve")
			b.ReportMetric(three, name+"/s-roles")
		}
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// deliveries delivers n messages from 50 senders and returns how many were taken in a second.
func (s *server) deliveries(b *testing.B, n int64, octets int) float64 {
	b.Helper()
	raw := append([]byte(header+"\r\n"), text(octets, 1)...)
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, 50)
	began := time.Now()
	for i := range errs {
		all.Go(func() {
			c, err := dialSMTP(s.addr["smtp"])
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			for k := next.Add(1); k <= n && errs[i] == nil; k = next.Add(1) {
				_, errs[i] = c.deliver(raw, floodUser(int(k)))
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	return float64(n) / time.Since(began).Seconds()
}

// drains empties all maildrops at once and returns how many messages came out in a second.
func (s *server) drains(b *testing.B) float64 {
	b.Helper()
	var all sync.WaitGroup
	var messages atomic.Int64
	errs := make([]error, floodAccounts)
	began := time.Now()
	for i := range errs {
		all.Go(func() {
			got, err := tryDrain(s, floodUser(i))
			messages.Add(int64(len(got)))
			errs[i] = err
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(fmt.Errorf("drain: %w", err))
	}
	return float64(messages.Load()) / time.Since(began).Seconds()
}
