package history

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
	"example.org/letterbox/store/vfs/vfstest"
)

// TestTorn: what a crash left of a line is skipped, wherever it was cut, and what is appended stands on a line of its own.
func TestTorn(t *testing.T) {
	h := begin(t, month())
	first := h.accept(1, "a@b.example", alice)
	second := h.accept(2, "a@b.example", alice)
	h.Close()
	name := filepath.Join(h.dir, "2026-11-26.mail.jsonl")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cutAt := strings.IndexByte(string(whole), '\n') + 1; cutAt <= len(whole); cutAt += 7 {
		for _, garbage := range []string{"", "\x00\x00\x00", "{}\n[]\nnull\n{\"time\":3}\n"} {
			if err := os.WriteFile(name, append(whole[:cutAt:cutAt], garbage...), 0o600); err != nil {
				t.Fatal(err)
			}
			h.open(h.dir, month())
			third := h.accept(3, "a@b.example", alice)
			h.want(first.String(), "accepted")
			h.want(third.String(), "accepted")
			if kinds := h.kinds(second.String()); cutAt < len(whole)-1 && kinds != "" {
				t.Fatalf("cut at %d: half a line is %q", cutAt, kinds)
			}
			h.Close()
		}
	}
}

// TestFullDisk: lines that can't be written are dropped and counted, none of them stays in half, and it goes on once there is
// room. Where the disk is almost full nothing is even tried.
func TestFullDisk(t *testing.T) {
	h := begin(t, month())
	first := h.accept(1, "a@b.example", alice)
	h.flush(false)
	h.fs.Fill(100)
	for i := range 10 {
		h.accept(10+i, "a@b.example", alice)
		h.flush(false)
	}
	if h.Dropped() != 10 || h.failures.Load() != 1 {
		t.Errorf("%d dropped, told %d times", h.Dropped(), h.failures.Load())
	}
	h.fs.Fill(-1)
	last := h.accept(2, "a@b.example", alice)
	h.want(first.String(), "accepted")
	h.want(last.String(), "accepted")
	if n := len(h.all()); n != 2 {
		t.Errorf("%d lines", n)
	}
	h.tight.Store(true)
	h.accept(3, "a@b.example", alice)
	h.want(alice, "accepted accepted")
	if h.Dropped() != 11 {
		t.Errorf("%d dropped", h.Dropped())
	}
}

// TestNeverWaits: nobody who notes something waits for a disk that hangs, and what waits for it is bounded.
func TestNeverWaits(t *testing.T) {
	h := begin(t, month())
	hang, hangs := make(chan struct{}), make(chan struct{})
	h.fs.Fail(func(call vfstest.Call, _ string) error {
		if call == vfstest.Write {
			close(hangs)
			<-hang
		}
		return nil
	})
	h.accept(1, "a@b.example", alice)
	flushed := make(chan struct{})
	go func() {
		h.flush(false)
		close(flushed)
	}()
	<-hangs
	for i := range 50_000 {
		h.accept(i, "a@b.example", alice)
		h.Retrieved("P", netip.Addr{}, alice, store.ID{1})
		h.refuse("192.0.2.1", "", fmt.Sprint(i), "unknown")
	}
	h.mu.Lock()
	waiting := len(h.waiting[ofMail]) + len(h.waiting[ofRefused])
	h.mu.Unlock()
	if waiting > maxWaiting || h.Dropped() == 0 {
		t.Errorf("%d octets wait, %d lines dropped", waiting, h.Dropped())
	}
	h.fs.Fail(nil)
	close(hang)
	<-flushed
}

// TestWriterWakes: what is noted gets into the files by itself, also the counts of refusals that nothing follows.
func TestWriterWakes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	c := newClock()
	l, err := Open(dir, Options{FS: vfs.OS{}, Now: c.now, Policy: month(), interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := &harness{T: t, Log: l, clock: c}
	until := func(what string, is func() bool) {
		for deadline := time.Now().Add(20 * time.Second); !is(); {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	for range 3 {
		before := l.Bytes()
		h.accept(1, "a@b.example", alice)
		until("the line was not written", func() bool { return l.Bytes() > before })
		l.Retrieved("P", netip.Addr{}, alice, store.ID{1})
		before = l.Bytes()
		until("what was retrieved was not written", func() bool { return l.Bytes() > before })
		h.refuse("192.0.2.1", "", "x", "unknown")
		h.refuse("192.0.2.1", "", "x", "unknown")
		before = l.Bytes()
		until("the refusal was not written", func() bool { return l.Bytes() > before })
		before = l.Bytes()
		c.advance(2 * together)
		until("the count was not written", func() bool { return l.Bytes() > before })
		until("the writer does not sleep", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.awake })
	}
}
