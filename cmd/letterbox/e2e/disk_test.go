package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestFullDisk lets the file system below the store fill up slowly, with mail: deliveries get a temporary reply, nothing that
// was acknowledged is lost, and the same process takes and hands out mail again once there is room.
func TestFullDisk(t *testing.T) {
	dir := tmpfs(t, "512m")
	s := serveData(t, filepath.Join(dir, "data"))
	acked := putSome(t, s, alice)
	filler := fill(t, dir, 1<<20)
	acked = append(acked, untilRefused(t, s, alice)...)
	// A login makes the store bring its index up to date, which the full disk may not allow.
	if c, err := dialPOP(s.addr["pop3"], alice); err == nil {
		c.Close()
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	acked = append(acked, putAgain(t, s, smallMail(), alice))
	wantMail(t, drain(t, s, alice), acked, alice)
}

// TestFullDiskFetch fetches and deletes while the disk is full: that is how room comes back.
func TestFullDiskFetch(t *testing.T) {
	dir := tmpfs(t, "512m")
	s := serveData(t, filepath.Join(dir, "data"))
	acked := putSome(t, s, alice)
	fill(t, dir, 1<<20)
	acked = append(acked, untilRefused(t, s, alice)...)
	wantMail(t, drain(t, s, alice), acked, alice)
	if again := drain(t, s, alice); len(again) != 0 {
		t.Errorf("%d deleted messages are back", len(again))
	}
}

func smallMail() []byte { return []byte(header + "\r\nsmall\r\n") }

// putSome delivers while there is room.
func putSome(t *testing.T, s *server, user string) (acked []string) {
	t.Helper()
	for range 50 {
		acked = append(acked, put(t, s, smallMail(), user))
	}
	return acked
}

// untilRefused delivers until the disk is full, which must be a temporary refusal, and returns what was acknowledged.
func untilRefused(t *testing.T, s *server, user string) (acked []string) {
	t.Helper()
	c, err := dialSMTP(s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 100_000 {
		id, err := c.deliver(smallMail(), user)
		if err == nil {
			acked = append(acked, id)
			continue
		}
		var reply *replyError
		if !errors.As(err, &reply) || reply.code() != 452 && reply.code() != 451 {
			t.Fatalf("want 452 or 451 from a full disk, got %v", err)
		}
		return acked
	}
	t.Fatal("a full disk took everything")
	return nil
}

// wantMail wants exactly these messages in this order.
func wantMail(t *testing.T, got []fetched, ids []string, user string) {
	t.Helper()
	if len(got) != len(ids) {
		t.Fatalf("%d messages for %s, %d were acknowledged", len(got), user, len(ids))
	}
	for i, m := range got {
		if m.uidl != ids[i] {
			t.Errorf("message %d of %s is %s, want %s", i+1, user, m.uidl, ids[i])
		}
		same(t, withoutTrace(t, m.raw, sender, user), smallMail())
	}
}

// tryPut is put for a delivery that may fail.
func tryPut(s *server, raw []byte, rcpts ...string) (string, error) {
	c, err := dialSMTP(s.addr["smtp"])
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.deliver(raw, rcpts...)
}

// putAgain tries until a delivery is taken, as a sender does.
func putAgain(t *testing.T, s *server, raw []byte, rcpts ...string) string {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		id, err := tryPut(s, raw, rcpts...)
		if err == nil {
			return id
		}
		if time.Now().After(deadline) {
			t.Fatalf("still refused: %v", err)
		}
		time.Sleep(100 * time.Millisecond) // no event tells when the store looks again
	}
}

// fill leaves room for so many octets in dir's file system, and returns the file that holds the rest.
func fill(t *testing.T, dir string, room int64) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var written int64
	for size := 1 << 20; size >= 1; {
		n, err := f.Write(make([]byte, size))
		written += int64(n)
		if errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(written - room); err != nil {
		t.Fatal(err)
	}
	return path
}
