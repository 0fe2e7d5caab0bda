package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.org/letterbox/store"
	"example.org/letterbox/store/storetest"
)

// BenchmarkMillion moves a store of a million messages of 4 KiB: a backup and its reading back, a verification and a rebuild
// of the index, and a restore. Each begins with a cold page cache, and is held against what the same disk does directly before:
// what reads, against read(2) of the very files that it reads, cold, in one row and in pieces of 1 MiB, the faster of two times;
// what writes, against as many octets written in one row and synced. Memory is the largest anonymous resident set while it went
// on: the index's own pages are the kernel's to take back. Deliveries are those of 64 senders: beside, against the mean of the
// rates before and after.
//
// LETTERBOX_MILLION is another number of messages.
func BenchmarkMillion(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv("LETTERBOX_MILLION"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		benchMillion(b, n)
	}
	b.ReportMetric(0, "ns/op")
}

func benchMillion(b *testing.B, n int) {
	s, drops := millionStore(b, 1000)
	fillMillion(b, s, drops, n)
	m := million{b: b, log: s.Stats().LogBytes, dir: s.dir}
	backup, log := filepath.Join(b.TempDir(), "backup"), filepath.Join(s.dir, "log")
	m.measure("backup", m.written(), func() int64 { return writeBackup(b, s, backup) })
	m.measure("readback", m.read(backup), func() int64 { return checkBackup(b, backup) })
	m.measure("verify", m.read(log), func() int64 { return verifyWhole(b, s) })

	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	m.measure("rebuild", m.read(log), func() int64 { return rebuild(b, s.dir) })
	m.measure("restore", m.written(), func() int64 { return restoreWhole(b, backup) })

	s, err := Open(s.dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	m.beside("backup", s, drops, func() { writeBackup(b, s, backup) })
	m.beside("verify", s, drops, func() { verifyWhole(b, s) })
}

// millionStore is benchStore with accounts that are in the file, and so in a backup: mail that is nobody's is removed by a restore, which took
// five times as long as all else that it does.
func millionStore(b *testing.B, accounts int) (*Store, []store.MaildropID) {
	s, err := Open(b.TempDir(), Options{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	var edits []store.Edit
	for i := range accounts {
		edits = append(edits, store.Edit{Op: store.AddAccount, Address: fmt.Sprintf("u%d@bench.test", i), Hash: testHash})
	}
	if _, err := s.Apply(b.Context(), 0, edits); err != nil {
		b.Fatal(err)
	}
	var drops []store.MaildropID
	for _, a := range s.accounts.directory().accounts {
		drops = append(drops, a.Maildrop)
	}
	return s, drops
}

// fillMillion delivers messages of 4 KiB that no two are alike.
func fillMillion(b *testing.B, s *Store, drops []store.MaildropID, n int) {
	var next atomic.Int64
	random := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{}).Read(random)
	done := make(chan struct{})
	for range 256 {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				at := i * 977 % (len(random) - 4096)
				if err := deliverOne(s, drops[i%len(drops)], random[at:][:4096]); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	for range 256 {
		<-done
	}
	if err := s.indexer.settle(0); err != nil {
		b.Fatal(err)
	}
}

func deliverTo(s *Store, drops []store.MaildropID) func() error {
	body := bytes.Repeat([]byte("0123456789012345678901234567890123456789\r\n"), 98)[:4096]
	return func() error { return deliverOne(s, drops[rand.IntN(len(drops))], body) }
}

// million is the measure of one run.
type million struct {
	b   *testing.B
	dir string
	log int64 // octets
}

// written returns how fast the disk takes as many octets as the log has, in one row and synced, in octets a second.
func (m *million) written() float64 {
	name := filepath.Join(m.b.TempDir(), "row")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		m.b.Fatal(err)
	}
	defer os.Remove(name)
	defer file.Close()
	piece := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(piece)
	began := time.Now()
	for off := int64(0); off < m.log && err == nil; off += int64(len(piece)) {
		_, err = file.WriteAt(piece, off)
	}
	if err = errors.Join(err, unix.Fdatasync(int(file.Fd()))); err != nil {
		m.b.Fatal(err)
	}
	return float64(m.log) / time.Since(began).Seconds()
}

// read returns how fast the disk gives a file, or those of a folder, one after the other, in octets a second: the faster of
// two times, since the first may have to get memory anew that the machine had given back to its host.
func (m *million) read(name string) float64 { return max(m.readOnce(name), m.readOnce(name)) }

func (m *million) readOnce(name string) float64 {
	m.cold(filepath.Dir(m.dir))
	piece := make([]byte, 1<<20)
	octets := int64(0)
	began := time.Now()
	err := filepath.WalkDir(name, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{file}, piece)
		octets += n
		return err
	})
	if err != nil {
		m.b.Fatal(err)
	}
	return float64(octets) / time.Since(began).Seconds()
}

// cold drops files, and those of folders, from the page cache.
func (m *million) cold(names ...string) {
	for _, name := range names {
		err := filepath.WalkDir(name, func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			return errors.Join(unix.Fdatasync(int(file.Fd())), unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED))
		})
		if err != nil {
			m.b.Fatal(err)
		}
	}
}

// measure reports how f did beside the disk, and the memory that it took. f returns the octets that it was about.
func (m *million) measure(what string, disk float64, f func() int64) {
	m.cold(filepath.Dir(m.dir))
	stop, peak := make(chan struct{}), make(chan int64)
	go watchMemory(stop, peak)
	began := time.Now()
	n := f()
	rate := float64(n) / time.Since(began).Seconds()
	close(stop)
	m.b.ReportMetric(rate/disk, what+"-of-disk")
	m.b.ReportMetric(rate/1e6, "MB/s-"+what)
	m.b.ReportMetric(disk/1e6, "MB/s-disk-at-"+what)
	m.b.ReportMetric(float64(<-peak)/(1<<20), "MiB-"+what)
}

// beside reports what is left of the rate of deliveries while f goes on. What the disk takes changes from minute to minute, so
// the rate alone is that of before and after.
func (m *million) beside(what string, s *Store, drops []store.MaildropID, f func()) {
	alone := storetest.Rate(m.b, 64, 5*time.Second, deliverTo(s, drops))
	m.cold(filepath.Join(m.dir, "log"))
	var n atomic.Int64
	ctx, cancel := context.WithCancel(m.b.Context())
	done := make(chan struct{})
	deliver := deliverTo(s, drops)
	for range 64 {
		go func() {
			defer func() { done <- struct{}{} }()
			for ctx.Err() == nil {
				if err := deliver(); err != nil {
					m.b.Error(err)
					return
				}
				n.Add(1)
			}
		}()
	}
	began := time.Now()
	f()
	rate := float64(n.Load()) / time.Since(began).Seconds()
	cancel()
	for range 64 {
		<-done
	}
	alone = (alone + storetest.Rate(m.b, 64, 5*time.Second, deliverTo(s, drops))) / 2
	m.b.ReportMetric(alone, "deliveries/s-at-"+what)
	m.b.ReportMetric(rate/alone, "deliveries-beside-"+what)
}

// watchMemory sends the largest anonymous resident set until stop is closed, in octets.
func watchMemory(stop <-chan struct{}, peak chan<- int64) {
	var most int64
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile("/proc/self/status")
		if err == nil {
			_, rest, _ := strings.Cut(string(text), "RssAnon:")
			var kib int64
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				most = max(most, kib<<10)
			}
		}
		select {
		case <-stop:
			peak <- most
			return
		case <-tick.C:
		}
	}
}

// writeBackup writes a backup as durable as letterbox backup makes one.
func writeBackup(b *testing.B, s *Store, name string) int64 {
	file, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	report, err := s.Backup(b.Context(), file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		b.Fatal(err)
	}
	return report.Octets
}

func checkBackup(b *testing.B, name string) int64 {
	file, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	report, err := CheckBackup(b.Context(), file)
	if err != nil {
		b.Fatal(err)
	}
	return report.Octets
}

func verifyWhole(b *testing.B, s *Store) int64 {
	v, err := s.Verify(b.Context())
	if err != nil || v.Damage > 0 {
		b.Fatal(v.Findings, err)
	}
	return s.Stats().LogBytes
}

func restoreWhole(b *testing.B, name string) int64 {
	file, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	dir := filepath.Join(b.TempDir(), "restored")
	report, err := Restore(b.Context(), dir, file, Options{Brief: true})
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		b.Fatal(err)
	}
	return report.Octets
}

// rebuild opens a store that has lost its index.
func rebuild(b *testing.B, dir string) int64 {
	if err := os.Remove(filepath.Join(dir, "index.db")); err != nil {
		b.Fatal(err)
	}
	s, err := Open(dir, Options{Brief: true})
	if err != nil {
		b.Fatal(err)
	}
	n := s.Stats().LogBytes
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return n
}
