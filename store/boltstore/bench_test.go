package boltstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/storetest"
	"example.org/letterbox/store/vfs"
)

// The physical limit that deliveries are held against: the same writers append the same octets to one file, and whatever
// has queued up shares one write and one fdatasync.
type limit struct {
	f     vfs.File
	queue chan *limitWrite
	done  chan struct{}
	syncs atomic.Int64
}

type limitWrite struct {
	b    []byte
	done chan error
}

func newLimit(b *testing.B, dir string) *limit {
	f, err := vfs.OS{}.OpenFile(filepath.Join(dir, "limit"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	l := &limit{f: f, queue: make(chan *limitWrite, 1024), done: make(chan struct{})}
	go l.run()
	return l
}

func (l *limit) run() {
	defer close(l.done)
	var off int64
	for w := range l.queue {
		group := []*limitWrite{w}
		for len(group) < 1024 && len(l.queue) > 0 {
			group = append(group, <-l.queue)
		}
		var bufs [][]byte
		for _, w := range group {
			bufs = append(bufs, w.b)
		}
		err := l.f.WriteVec(bufs, off)
		if err == nil {
			err = l.f.Sync()
		}
		l.syncs.Add(1)
		for _, w := range group {
			off += int64(len(w.b))
			w.done <- err
		}
	}
}

func (l *limit) append(b []byte) error {
	w := &limitWrite{b, make(chan error, 1)}
	l.queue <- w
	return <-w.done
}

func (l *limit) close() {
	close(l.queue)
	<-l.done
	l.f.Close()
}

// benchStore opens a store with one account for each maildrop that is asked for.
func benchStore(b *testing.B, maildrops int) (*Store, []store.MaildropID) {
	s, err := Open(b.TempDir(), Options{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	// The directory is put in place as it is after opening: making 100,000 accounts one by one is not what is measured.
	d := newDirectory()
	var drops []store.MaildropID
	for i := range maildrops {
		drop := store.MaildropID(i + 1)
		address := fmt.Sprintf("u%d@bench.test", i)
		d.accounts[address] = &account{Maildrop: drop, address: address}
		drops = append(drops, drop)
	}
	d.complete()
	s.accounts.dir.Store(d)
	return s, drops
}

func deliverOne(s *Store, drop store.MaildropID, body []byte) error {
	return deliverFrom(s, drop, body, store.Origin{})
}

// deliverFrom is deliverOne with what the history is told.
func deliverFrom(s *Store, drop store.MaildropID, body []byte, o store.Origin) error {
	d, err := s.Begin(context.Background(), store.Envelope{Session: "ABCDEFGH", From: "a@sender.example"})
	if err != nil {
		return err
	}
	if _, err := d.Write(body); err != nil {
		return err
	}
	return d.Commit(context.Background(), store.Final{
		Trace:      []byte("Received: from a by b\r\n"),
		Recipients: []store.Recipient{{Maildrop: drop, Prefix: []byte("Return-Path: <a@sender.example>\r\nDelivered-To: u@bench.test\r\n")}},
		Origin:     o,
	})
}

// BenchmarkDeliver compares deliveries with the limit in the same run: nine rounds, each side in turn first, slices longer
// than the index's interval. The metric is the median of the rounds' ratios.
func BenchmarkDeliver(b *testing.B) {
	for _, c := range []struct {
		name          string
		size, writers int
	}{
		{"4KiB-64", 4 << 10, 64}, {"4KiB-8", 4 << 10, 8}, {"4KiB-1", 4 << 10, 1}, {"75KiB-64", 75 << 10, 64},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, drops := benchStore(b, 100)
			body := make([]byte, c.size)
			for b.Loop() {
				compare(b, s, drops, body, c.writers, 9, 2500*time.Millisecond)
			}
		})
	}
}

// BenchmarkDeliverLarge is BenchmarkDeliver beside an index of two million entries in 100,000 maildrops: each message goes
// to another page of it. A slice is 30 s, long enough for the index to hold the log back if it can't keep up; so it is three
// rounds that take three minutes, and nine with LETTERBOX_LONG.
func BenchmarkDeliverLarge(b *testing.B) {
	s, drops := benchStore(b, 100_000)
	fillStore(b, s, drops, 2_000_000, 100)
	rounds := 3
	if os.Getenv("LETTERBOX_LONG") != "" {
		rounds = 9
	}
	for b.Loop() {
		compare(b, s, drops, make([]byte, 4<<10), 64, rounds, 30*time.Second)
	}
}

func compare(b *testing.B, s *Store, drops []store.MaildropID, body []byte, writers, rounds int, slice time.Duration) {
	l := newLimit(b, b.TempDir())
	var ratios, rates, limits, syncs []float64
	for round := range rounds {
		var ours, theirs, perMsg, limitPerMsg float64
		us := func() {
			before := s.log.Counts()
			ours = storetest.Rate(b, writers, slice, func() error { return deliverOne(s, drops[rand.IntN(len(drops))], body) })
			after := s.log.Counts()
			perMsg = float64(after.Groups-before.Groups) / float64(after.Records-before.Records)
		}
		them := func() {
			before := l.syncs.Load()
			theirs = storetest.Rate(b, writers, slice, func() error { return l.append(body) })
			limitPerMsg = float64(l.syncs.Load()-before) / (theirs * slice.Seconds())
		}
		if round%2 == 0 {
			us()
			them()
		} else {
			them()
			us()
		}
		ratios, rates, limits = append(ratios, ours/theirs), append(rates, ours), append(limits, theirs)
		syncs = append(syncs, perMsg/limitPerMsg)
	}
	l.close()
	b.ReportMetric(storetest.Median(ratios), "of-limit")
	b.ReportMetric(storetest.Median(rates), "msgs/s")
	b.ReportMetric(storetest.Median(limits), "limit/s")
	b.ReportMetric(storetest.Median(syncs), "syncs-of-limit")
	b.ReportMetric(0, "ns/op")
}
