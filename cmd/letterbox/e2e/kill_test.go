package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// TestKill9 kills the process under load, more than once on the same data: what was acknowledged is there once and whole,
// and what was deleted stays deleted.
func TestKill9(t *testing.T) {
	t.Parallel()
	rounds, messages := 3, 150
	if long() {
		rounds, messages = 15, 400
	}
	data := filepath.Join(t.TempDir(), "data")
	f := newFlood(10, 1<<30)
	s := serveData(t, data, floodArgs()...)
	gone := put(t, s, []byte(header+"\r\ngone\r\n"), alice)
	if got := drain(t, s, alice); len(got) != 1 || got[0].uidl != gone {
		t.Fatalf("want one message %s, got %d", gone, len(got))
	}
	for range rounds {
		enough := f.after(len(f.acked) + messages)
		over := make(chan struct{})
		go func() {
			defer close(over)
			f.run(s.addr["smtp"])
		}()
		wait(t, enough, "acknowledgements")
		s.kill()
		wait(t, over, "the senders' end")
		s = serveData(t, data, floodArgs()...)
	}
	f.check(t, drainFlood(t, s))
	if back := drain(t, s, alice); len(back) != 0 {
		t.Errorf("%d deleted messages came back", len(back))
	}
}

// TestKill9AtQuit kills the process while sessions end with QUIT: what one of them marked is deleted whole or not at all,
// and whole if its QUIT was answered.
func TestKill9AtQuit(t *testing.T) {
	t.Parallel()
	const messages = 20
	rounds := 3
	if long() {
		rounds = 15
	}
	data := filepath.Join(t.TempDir(), "data")
	s := serveData(t, data, floodArgs()...)
	for round := range rounds {
		sent := map[string]bool{}
		for n := range floodAccounts {
			for range messages {
				sent[put(t, s, []byte(header+"\r\nto be deleted\r\n"), floodUser(n))] = true
			}
		}
		answered := quitAndKill(t, s)
		s = serveData(t, data, floodArgs()...)
		for n := range floodAccounts {
			left := drain(t, s, floodUser(n))
			if len(left) != 0 && (answered[n] || len(left) != messages) {
				t.Errorf("round %d: %d messages are left for %s (QUIT answered: %t)", round, len(left), floodUser(n), answered[n])
			}
			for _, m := range left {
				if !sent[m.uidl] {
					t.Errorf("round %d: %s came back", round, m.uidl)
				}
			}
		}
	}
}

// quitAndKill marks everything in all maildrops, sends QUIT in all sessions at once, and kills s at the first answer. It
// says whose QUIT was answered.
func quitAndKill(t *testing.T, s *server) (answered []bool) {
	t.Helper()
	answered = make([]bool, floodAccounts)
	sessions := make([]*conn, floodAccounts)
	for n := range sessions {
		sessions[n] = markAll(t, s, floodUser(n))
		defer sessions[n].Close()
	}
	type result struct {
		n   int
		err error
	}
	results := make(chan result, floodAccounts)
	for n, c := range sessions {
		go func() {
			_, err := c.pop("QUIT")
			results <- result{n, err}
		}()
	}
	for i := range sessions {
		r := <-results
		if i == 0 {
			s.kill()
		}
		var reply *replyError
		if errors.As(r.err, &reply) {
			t.Errorf("QUIT of %s: %v", floodUser(r.n), r.err)
		}
		answered[r.n] = r.err == nil
	}
	return answered
}

// markAll logs in and marks every message.
func markAll(t *testing.T, s *server, user string) *conn {
	t.Helper()
	c, err := dialPOP(s.addr["pop3"], user)
	if err != nil {
		t.Fatal(err)
	}
	var messages, octets int
	stat, err := c.pop("STAT")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(stat, "+OK %d %d", &messages, &octets); err != nil {
		t.Fatalf("%q: %v", stat, err)
	}
	for i := 1; i <= messages; i++ {
		if _, err := c.pop("DELE %d", i); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
