package boltstore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/storetest"
)

// fillStore delivers n messages to the maildrops, many at once.
func fillStore(b *testing.B, s *Store, drops []store.MaildropID, n, size int) {
	fillFrom(b, s, drops, 256, n, size)
}

// fillFrom is fillStore from so many writers.
func fillFrom(b *testing.B, s *Store, drops []store.MaildropID, writers, n, size int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	body := make([]byte, size)
	for range writers {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(n) {
					return
				}
				if err := deliverOne(s, drops[int(i)%len(drops)], body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := s.indexer.settle(0); err != nil {
		b.Fatal(err)
	}
}

func openDrop(b *testing.B, s *Store, drop store.MaildropID) *maildrop {
	m := lockable(s, drop)
	if err := s.take(context.Background(), m); err != nil {
		b.Fatal(err)
	}
	if err := m.load(); err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkLogin opens a maildrop of 100,000 messages that nothing is pending for.
func BenchmarkLogin(b *testing.B) {
	s, drops := benchStore(b, 1)
	fillStore(b, s, drops, 100_000, 100)
	for b.Loop() {
		m := openDrop(b, s, drops[0])
		m.Close()
	}
}

// BenchmarkQuit deletes 100,000 messages in one QUIT while 4 KiB deliveries go on, and logs in again: the median of five.
func BenchmarkQuit(b *testing.B) {
	const rounds = 5
	var all [4][]float64
	for b.Loop() {
		for range rounds {
			for i, v := range largeQuit(b) {
				all[i] = append(all[i], v)
			}
		}
	}
	for i, unit := range []string{"ms/quit", "ms/login", "p99-of-before", "p99-until-login-of-before"} {
		b.ReportMetric(storetest.Median(all[i]), unit)
	}
	b.ReportMetric(0, "ns/op")
}

// largeQuit returns how many milliseconds the QUIT and the next login took, and the 99th percentile of the second that they
// fell into, and of the deliveries until the login's end, as multiples of what it was before.
func largeQuit(b *testing.B) [4]float64 {
	s, drops := benchStore(b, 2)
	fillStore(b, s, drops[:1], 100_000, 100)
	m := openDrop(b, s, drops[0])
	before, _ := latencies(s, drops[1], 3*time.Second, nil)
	var quit, login time.Duration
	second, meanwhile := latencies(s, drops[1], time.Second, func() {
		begin := time.Now()
		if err := m.Commit(context.Background(), indices(100_000)); err != nil {
			b.Error(err)
		}
		quit = time.Since(begin)
		m.Close()
		begin = time.Now()
		openDrop(b, s, drops[0]).Close()
		login = time.Since(begin)
	})
	was := percentile99(before)
	return [4]float64{quit.Seconds() * 1e3, login.Seconds() * 1e3, percentile99(second) / was, percentile99(meanwhile) / was}
}

func percentile99(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)*99/100]
}

// latencies lets 8 senders deliver for a while and beside it, and returns how many seconds each delivery took; meanwhile has
// those that ended before beside did.
func latencies(s *Store, drop store.MaildropID, d time.Duration, beside func()) (all, meanwhile []float64) {
	var mu sync.Mutex
	var stop atomic.Bool
	var wg sync.WaitGroup
	body := make([]byte, 4096)
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				begin := time.Now()
				if deliverOne(s, drop, body) != nil {
					return
				}
				took := time.Since(begin).Seconds()
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
			}
		})
	}
	begin := time.Now()
	if beside != nil {
		beside()
		mu.Lock()
		meanwhile = slices.Clone(all)
		mu.Unlock()
	}
	time.Sleep(max(0, d-time.Since(begin)))
	stop.Store(true)
	wg.Wait()
	return all, meanwhile
}

// BenchmarkOpen opens a store of a million messages, after a clean stop and as a kill leaves it.
func BenchmarkOpen(b *testing.B) {
	s, drops := benchStore(b, 1000)
	fillStore(b, s, drops, 1_000_000, 100)
	killed := filepath.Join(b.TempDir(), "killed")
	fillStore2 := func() { // a second's worth of mail that the index does not hold yet
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for range 300 {
					if err := deliverOne(s, drops[0], make([]byte, 4096)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	if err := os.MkdirAll(killed, 0o700); err != nil {
		b.Fatal(err)
	}
	s.reclaimer.stop()
	copyFile(b, filepath.Join(s.dir, "index.db"), filepath.Join(killed, "index.db"))
	fillStore2()
	for _, name := range []string{"log", "bodies"} {
		if err := os.CopyFS(filepath.Join(killed, name), os.DirFS(filepath.Join(s.dir, name))); err != nil {
			b.Fatal(err)
		}
	}
	for _, name := range []string{"identity", "accounts.db"} {
		copyFile(b, filepath.Join(s.dir, name), filepath.Join(killed, name))
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	timed := func(dir string) float64 {
		begin := time.Now()
		again, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(begin).Seconds()
		again.Close()
		return took
	}
	for b.Loop() {
		b.ReportMetric(timed(killed), "s/killed")
		b.ReportMetric(timed(s.dir), "s/clean")
	}
	b.ReportMetric(0, "ns/op")
}

func copyFile(b *testing.B, from, to string) {
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDrain delivers and then deletes much mail, and reports the disk that is left and the rate of accepting before and
// after.
func BenchmarkDrain(b *testing.B) {
	for _, c := range []struct{ size, n int }{{75 << 10, 3 << 30 / (75 << 10)}, {4 << 10, 3 << 30 / (4 << 10)}} {
		b.Run(fmt.Sprint(c.size), func(b *testing.B) {
			s, drops := benchStore(b, 10)
			body := make([]byte, c.size)
			rate := func() float64 {
				return storetest.Rate(b, 64, 2*time.Second, func() error { return deliverOne(s, drops[0], body) })
			}
			before := rate()
			fillStore(b, s, drops, c.n, c.size)
			for _, drop := range drops {
				m := openDrop(b, s, drop)
				if err := m.Commit(b.Context(), indices(len(m.Messages()))); err != nil {
					b.Fatal(err)
				}
				m.Close()
			}
			if err := s.indexer.settle(0); err != nil {
				b.Fatal(err)
			}
			r := &reclaimer{s: s, ctx: b.Context()}
			s.reclaimer.stop()
			if err := r.work(); err != nil {
				b.Fatal(err)
			}
			st := s.Stats()
			b.ReportMetric(float64(st.LogBytes+st.IndexBytes+ballastBytes)/(1<<20), "MiB-left")
			b.ReportMetric(rate()/before, "rate-after/before")
			b.ReportMetric(0, "ns/op")
		})
	}
}
