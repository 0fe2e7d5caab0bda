//go:build linux

package smtpd

import (
	"cmp"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/rs/zerolog"
)

// The benchmarks run a whole server over a real store, and its clients in a process of their own. Each iteration is a round
// of a few seconds: use -benchtime 5x.

const round = 3 * time.Second

// serveOurs serves on loopback with a store on disk.
func serveOurs(b *testing.B) string {
	s := New(Config{Hostname: "mx.a.test", Store: realStore(b), Log: zerolog.Nop()}, Policy{})
	return serveLoopback(b, func(c net.Conn) { s.Handle(c, Listener{Name: "bench"}) })
}

func serveLoopback(b *testing.B, handle func(net.Conn)) string {
	b.Helper()
	l := listenLoopback(b)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return l.Addr().String()
}

func listenLoopback(b *testing.B) net.Listener {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// library is go-smtp with a backend that does as little as one can.
type library struct {
	mu   sync.Mutex
	file *os.File // appended to and synced before each reply; nil: everything is dropped
}

func (l *library) NewSession(*smtp.Conn) (smtp.Session, error) { return l, nil }
func (l *library) Mail(string, *smtp.MailOptions) error        { return nil }
func (l *library) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (l *library) Reset()                                      {}
func (l *library) Logout() error                               { return nil }

func (l *library) Data(r io.Reader) error {
	if l.file == nil {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(body); err != nil {
		return err
	}
	return syscall.Fdatasync(int(l.file.Fd()))
}

func serveLibrary(b *testing.B, syncs bool) string {
	be := &library{}
	if syncs {
		f, err := os.Create(filepath.Join(b.TempDir(), "mail"))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { f.Close() })
		be.file = f
	}
	s := smtp.NewServer(be)
	s.Domain = "mx.a.test"
	l := listenLoopback(b)
	go s.Serve(l)
	b.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// BenchmarkBesideLibrary alternates between letterbox with its store on disk, and go-smtp with a backend that drops mail or
// syncs each message, and reports messages per second and the median ratio.
func BenchmarkBesideLibrary(b *testing.B) {
	for _, bb := range []struct {
		name        string
		connections int
		size        int
		syncs       bool
	}{
		{"50x4KiB-discard", 50, 4 << 10, false},
		{"50x75KiB-discard", 50, 75 << 10, false},
		{"1x4KiB-fdatasync", 1, 4 << 10, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ours, theirs := serveOurs(b), serveLibrary(b, bb.syncs)
			var us, them, ratio []float64
			for b.Loop() {
				l := load{Connections: bb.connections, Size: bb.size, For: round}
				l.Addr = ours
				us = append(us, l.start(b)().rate())
				l.Addr = theirs
				them = append(them, l.start(b)().rate())
				ratio = append(ratio, us[len(us)-1]/them[len(them)-1])
			}
			b.ReportMetric(median(us), "ours/s")
			b.ReportMetric(median(them), "library/s")
			b.ReportMetric(median(ratio), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkCPU reports the processor time, of server and store alone, for 1,000 messages that were accepted.
func BenchmarkCPU(b *testing.B) {
	addr := serveOurs(b)
	var seconds []float64
	for b.Loop() {
		done := load{Addr: addr, Connections: 50, Size: 4 << 10, For: round}.start(b)
		before := cpuTime()
		d := done()
		seconds = append(seconds, (cpuTime()-before).Seconds()/float64(d.Messages)*1000)
	}
	b.ReportMetric(median(seconds), "cpu-s/1000")
	b.ReportMetric(0, "ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIdleSessions reports the memory of this process with 10,000 sessions that have said EHLO, beyond what it had.
func BenchmarkIdleSessions(b *testing.B) {
	addr := serveOurs(b)
	var used []float64
	for b.Loop() {
		before := resident(b)
		done := load{Addr: addr, Connections: 10_000}.start(b)
		runtime.GC()
		used = append(used, resident(b)-before)
		done()
	}
	b.ReportMetric(median(used), "MiB")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkTrickle reports what 100 connections deliver while 1,900 others hold a message each and send an octet a second,
// against what they deliver alone; and the memory of the process meanwhile.
func BenchmarkTrickle(b *testing.B) {
	addr := serveOurs(b)
	var alone, beside, ratio, used []float64
	for b.Loop() {
		l := load{Addr: addr, Connections: 100, Size: 4 << 10, For: round}
		alone = append(alone, l.start(b)().rate())
		letGo := load{Addr: addr, Connections: 1900, Trickle: true}.start(b)
		time.Sleep(round) // until all of them are inside their message
		done := l.start(b)
		time.Sleep(round / 2)
		used = append(used, resident(b))
		beside = append(beside, done().rate())
		letGo()
		ratio = append(ratio, beside[len(beside)-1]/alone[len(alone)-1])
	}
	b.ReportMetric(median(alone), "alone/s")
	b.ReportMetric(median(beside), "beside/s")
	b.ReportMetric(median(ratio), "ratio")
	b.ReportMetric(slices.Max(used), "MiB")
	b.ReportMetric(0, "ns/op")
}

// resident is the memory of this process that is in RAM, in MiB.
func resident(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return float64(pages*os.Getpagesize()) / (1 << 20)
}

func median[T cmp.Ordered](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
