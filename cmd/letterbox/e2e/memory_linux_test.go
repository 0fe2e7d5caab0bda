package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMemoryDeliveries lets large messages come in side by side: what they take of memory is bounded, whatever their size.
func TestMemoryDeliveries(t *testing.T) {
	senders, octets := 16, 16<<20
	if long() {
		senders, octets = 64, 50<<20
	}
	s := servePlain(t)
	errs := make(chan error, senders)
	for range senders {
		go func() { errs <- largeDelivery(s.addr["smtp"], octets) }()
	}
	for range senders {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	s.memory(128)
}

// TestMemoryStalled opens many connections that stop within their messages. What has come of these is in files for the most
// part, and another sender is served.
func TestMemoryStalled(t *testing.T) {
	connections := 300
	if long() {
		connections = 2000
	}
	// One connection more than the default allows is wanted, for the sender at the end.
	s := servePlain(t, "LETTERBOX_LIMITS_MAX_CONNECTIONS=2100")
	stalled := make([]*conn, connections)
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i := range stalled {
		wg.Go(func() {
			if stalled[i], errs[i] = beginData(s.addr["smtp"]); errs[i] == nil {
				errs[i] = writeLines(stalled[i], 1000<<10)
			}
		})
	}
	wg.Wait()
	for _, c := range stalled {
		if c != nil {
			defer c.Close()
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	untilRead(t, s.addr["smtp"])
	put(t, s, smallMail(), alice)
	s.memory(250)
}

// servePlain serves SMTP from a binary without the race detector, which takes several times the memory.
func servePlain(t *testing.T, env ...string) *server {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "letterbox")
	if err := build(binary, nil); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	cmd := letterbox(t, "serve", "--data", data, "--log-format", "json", "--smtp", "127.0.0.1:0", "--pop3", "off", "--pop3s", "off",
		"--metrics", "off", "--account", alice+":"+password)
	cmd.Path = binary
	cmd.Env = append(cmd.Env, env...)
	s := begin(t, data, cmd)
	s.ready("smtp")
	return s
}

// memory wants that the process never held more than so many MiB.
func (s *server) memory(bound float64) {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.procs[0].cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	var peak float64 // KiB
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, "VmHWM: %f kB", &peak)
	}
	if peak == 0 {
		s.t.Fatal("the kernel does not say how much memory the process took")
	}
	s.t.Logf("%.0f MiB resident at the most, %.0f are allowed", peak/1024, bound)
	if peak/1024 > bound {
		s.t.Errorf("%.0f MiB resident at the most, want %.0f", peak/1024, bound)
	}
}

// largeDelivery sends one message of so many octets.
func largeDelivery(addr string, octets int) error {
	c, err := beginData(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := writeLines(c, octets-len(header)); err != nil {
		return err
	}
	_, err = c.smtp("250", ".")
	return err
}

// writeLines writes so many octets of lines without dots; the first is empty and ends the header.
func writeLines(w io.Writer, octets int) error {
	block := bytes.Repeat([]byte("\r\n"+strings.Repeat("x", 62)), 1024)
	for ; octets > len(block); octets -= len(block) {
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	_, err := w.Write(append(block[:octets-2:octets-2], "\r\n"...))
	return err
}

// untilRead waits until the server has read everything that was sent to addr.
func untilRead(t *testing.T, addr string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for unread(t, addr) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d octets were not read", unread(t, addr))
		}
		time.Sleep(20 * time.Millisecond) // no event tells
	}
}

// unread sums the kernel's queues of all connections to a port of ours.
func unread(t *testing.T, addr string) (sum uint64) {
	t.Helper()
	var port uint16
	if _, err := fmt.Sscanf(addr[strings.LastIndexByte(addr, ':'):], ":%d", &port); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var slot, local, remote, state string
		var sent, received uint64
		if n, _ := fmt.Sscanf(lines.Text(), "%s %s %s %s %x:%x", &slot, &local, &remote, &state, &sent, &received); n != 6 {
			continue
		}
		end := fmt.Sprintf(":%04X", port)
		const established = "01"
		if state == established && (strings.HasSuffix(local, end) || strings.HasSuffix(remote, end)) {
			sum += sent + received
		}
	}
	return sum
}
