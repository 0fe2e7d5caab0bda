package e2e

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestManySenders sends many messages of mixed sizes at once and drains them: none lost, doubled or changed.
func TestManySenders(t *testing.T) {
	t.Parallel()
	f := newFlood(20, 1000)
	if long() {
		f = newFlood(50, 10_000)
	}
	s := serve(t, floodArgs()...)
	f.run(s.addr["smtp"])
	f.noFailure(t)
	if len(f.acked) != int(f.limit) {
		t.Fatalf("%d of %d messages were acknowledged", len(f.acked), f.limit)
	}
	f.check(t, drainFlood(t, s))
	if again := drainFlood(t, s); len(again) != 0 {
		t.Errorf("%d messages came back", len(again))
	}
}

// wait waits for c to close.
func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
}

// TestSIGTERM stops the process under load: it ends with 0 within 30 s, senders see 421 or a closed connection, an idle
// session sees 421, a message under way is finished and acknowledged, and nothing acknowledged is lost.
func TestSIGTERM(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	s := serveData(t, data, floodArgs()...)
	idle, err := dialSMTP(s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	slow := halfMessage(t, s)
	defer slow.Close()

	f := newFlood(10, 1<<30)
	enough, over := f.after(200), make(chan struct{})
	go func() {
		defer close(over)
		f.run(s.addr["smtp"])
	}()
	wait(t, enough, "acknowledgements")
	s.signal()

	if l, err := idle.reply("421"); err != nil {
		t.Errorf("an idle session got %q, %v", l, err)
	}
	slowID := finishMessage(t, slow)
	wait(t, over, "the senders' end")
	for _, err := range f.failed {
		if !endOfService(err) {
			t.Errorf("a sender saw %v", err)
		}
	}
	s.waitExit(30 * time.Second)

	s = serveData(t, data, floodArgs()...)
	f.check(t, drainFlood(t, s))
	if got := drain(t, s, alice); len(got) != 1 || got[0].uidl != slowID {
		t.Errorf("want the message that was under way, %s; got %d", slowID, len(got))
	}
}

// halfMessage opens a session for alice and sends the first half of a message.
func halfMessage(t *testing.T, s *server) *conn {
	t.Helper()
	c, err := dialSMTP(s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range [][2]string{{"250", "MAIL FROM:<" + sender + ">"}, {"250", "RCPT TO:<" + alice + ">"}, {"354", "DATA"}} {
		if _, err := c.smtp(step[0], "%s", step[1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fmt.Fprint(c, header); err != nil {
		t.Fatal(err)
	}
	return c
}

// finishMessage sends the other half, and returns the id of the 250.
func finishMessage(t *testing.T, c *conn) string {
	t.Helper()
	reply, err := c.smtp("250", "\r\nthe other half\r\n.")
	if err != nil {
		t.Fatalf("a message under way got %q, %v", reply, err)
	}
	id, err := queuedID(reply)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// endOfService tells whether err is what a sender may see of a server that stops: 421, or a connection that is closed or
// refused.
func endOfService(err error) bool {
	var reply *replyError
	if errors.As(err, &reply) {
		return reply.code() == 421
	}
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		return false
	}
	return true
}
