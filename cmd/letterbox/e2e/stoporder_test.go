package e2e

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestStoreStopsLast stops the store's process while a message is on its way: that is finished, within the 5 s which it is given.
func TestStoreStopsLast(t *testing.T) {
	s := serveShape(t, shapeRoles, filepath.Join(t.TempDir(), "data"))
	c, err := dialSMTP(s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range [][2]string{{"250", "MAIL FROM:<" + sender + ">"}, {"250", "RCPT TO:<" + alice + ">"}, {"354", "DATA"}} {
		if _, err := c.smtp(step[0], "%s", step[1]); err != nil {
			t.Fatal(err)
		}
	}
	// Enough for a file of its own, by which we see that the store has a draft.
	if _, err := c.Write(bytes.Repeat([]byte("a line of a body\r\n"), 200_000)); err != nil {
		t.Fatal(err)
	}
	waitForDraft(t, s)
	s.process("store").Signal(syscall.SIGTERM)
	s.await(func(l logLine) bool { return l.Message == "stopping" && l.Role == "store" })
	if _, err := c.smtp("250", "."); err != nil {
		t.Errorf("the sender of a message that was under way saw %v", err)
	}
	<-s.procs[0].done // the store; a second SIGTERM would cut it off
}

// TestStopRefuses stops letterbox while a message is on its way: who connects meanwhile is refused, and the message is finished.
func TestStopRefuses(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{shapeServe, shapeSplit} {
		t.Run(shape, func(t *testing.T) {
			s := serveShape(t, shape, filepath.Join(t.TempDir(), "data"))
			c, err := beginData(s.addr["smtp"])
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s.procs[0].cmd.Process.Signal(syscall.SIGTERM)
			deadline := time.Now().Add(patience)
			for {
				late, err := net.Dial("tcp", s.addr["smtp"])
				if errors.Is(err, syscall.ECONNREFUSED) {
					break
				}
				if err == nil {
					late.Close()
				}
				if time.Now().After(deadline) {
					t.Fatalf("a connection while it stops: %v", err)
				}
				time.Sleep(time.Millisecond)
			}
			if _, err := c.smtp("250", "."); err != nil {
				t.Errorf("the sender of a message that was under way saw %v", err)
			}
			<-s.procs[0].done
		})
	}
}

// waitForDraft waits until the store has begun a file for a large body.
func waitForDraft(t *testing.T, s *server) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if files, _ := os.ReadDir(filepath.Join(s.data, "bodies")); len(files) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the store has no draft")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
