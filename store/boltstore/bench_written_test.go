package boltstore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// BenchmarkWritten counts what the process asks the disk to write for each octet of a body that was delivered, bbolt and the
// file system's rounding included: without any deletion, and in rounds each of which deletes a random half of all that is
// there and lets reclaim finish. The store must lie on a disk: the kernel counts nothing that stays in memory.
func BenchmarkWritten(b *testing.B) {
	const size, n = 75 << 10, 8000
	for _, c := range []struct {
		name   string
		rounds int
	}{{"75KiB-64", 0}, {"75KiB-64-half-deleted", 6}} {
		b.Run(c.name, func(b *testing.B) {
			s, drops := benchStore(b, 1)
			s.reclaimer.stop()
			for b.Loop() {
				before := diskWrites(b)
				for range max(1, c.rounds) {
					fillFrom(b, s, drops, 64, n, size)
					if c.rounds > 0 {
						halve(b, s)
					}
				}
				written := float64(diskWrites(b) - before)
				if written == 0 {
					b.Skip("nothing was written to a disk: set TMPDIR to a folder on one")
				}
				b.ReportMetric(written/float64(size*n*max(1, c.rounds)), "written/body")
			}
			st := s.Stats()
			b.ReportMetric(float64(st.Octets)/float64(st.LogBytes), "live-share")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// halve deletes a random half of the mail and lets reclaim finish.
func halve(b *testing.B, s *Store) {
	b.Helper()
	m := openDrop(b, s, 1)
	defer m.Close()
	gone := rand.New(rand.NewPCG(1, 2)).Perm(len(m.Messages()))[:len(m.Messages())/2]
	if err := m.Commit(b.Context(), gone); err != nil {
		b.Fatal(err)
	}
	if err := (&reclaimer{s: s, ctx: b.Context()}).work(); err != nil {
		b.Fatal(err)
	}
}

// diskWrites returns how many octets this process had written to a disk so far. The kernel counts a page when it has to be
// written, and not when that happens.
func diskWrites(b *testing.B) (n int64) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip(err)
	}
	for line := range bytes.Lines(text) {
		if _, err := fmt.Sscanf(string(line), "write_bytes: %d", &n); err == nil {
			return n
		}
	}
	b.Skip("the kernel does not count what is written to a disk")
	return 0
}
