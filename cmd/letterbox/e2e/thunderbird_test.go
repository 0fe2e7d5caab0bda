package e2e

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// thunderbird is a person's Thunderbird: what it knows of the maildrop stays in its profile from start to start.
type thunderbird struct {
	*client
	leave bool // messages on the server
	seen  int  // sessions of POP3 that were looked at in the server's log
}

// look is what one start of Thunderbird left behind.
type look struct {
	// Status is 0, or Thunderbird's reason why it could not fetch.
	Status int64
	// Popstate is what it remembers: UIDL -> k for a message that is left on the server.
	Popstate map[string]string
	// Messages are what its Inbox holds, with line ends of Unix.
	Messages []string
}

// fetch starts Thunderbird, lets it look for mail once, and ends it.
func (b *thunderbird) fetch() look {
	b.Helper()
	job, err := json.Marshal(map[string]any{
		"profile": b.path("profile"), "host": b.host, "port": json.Number(b.port), "security": b.mode, "user": alice,
		"password": password, "cert": b.server.cert, "leave": b.leave,
	})
	if err != nil {
		b.Fatal(err)
	}
	var l look
	if err := json.Unmarshal(b.run(job, "python3", b.testdata("thunderbird.py")), &l); err != nil {
		b.Fatal(err)
	}
	for i, m := range l.Messages {
		raw, err := base64.StdEncoding.DecodeString(m)
		if err != nil {
			b.Fatal(err)
		}
		l.Messages[i] = string(raw)
	}
	return l
}

// TestThunderbird is Thunderbird as a person uses it: it downloads what is there and leaves it on the server, downloads
// nothing twice, then deletes. Each start is a process of its own that knows what the profile holds.
func TestThunderbird(t *testing.T) {
	t.Parallel()
	need(t, "thunderbird", "python3")
	modes := []string{starttls}
	if long() {
		modes = []string{plain, starttls, implicit}
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			b := &thunderbird{client: newClient(t, s, mode, popListener[mode]), leave: true}
			b.downloads()
			b.deletes()
		})
	}
}

// downloads looks three times: at all messages, at nothing new, and at one that is new.
func (b *thunderbird) downloads() {
	b.Helper()
	var sent []mail
	ids := map[string]bool{}
	for _, m := range mails() {
		if m.name == "NUL" { // Thunderbird drops them
			continue
		}
		sent = append(sent, m)
		ids[put(b.T, b.server, m.raw, alice)] = true
	}
	b.looks(sent, ids, len(sent), 0)
	b.looks(sent, ids, 0, 0)
	late := mail{name: "late", raw: []byte(header + "\r\nlate\r\n")}
	sent = append(sent, late)
	ids[put(b.T, b.server, late.raw, alice)] = true
	b.looks(sent, ids, 1, 0)
}

// deletes looks again, now told to leave nothing on the server, and once more when the maildrop is empty.
func (b *thunderbird) deletes() {
	b.Helper()
	b.leave = false
	before := b.fetch()
	n := len(before.Messages)
	b.transferred(0, n)
	if left := drain(b.T, b.server, alice); len(left) != 0 {
		b.Errorf("%d messages are left", len(left))
	}
	b.seen++ // that of drain
	after := b.fetch()
	b.transferred(0, 0)
	if after.Status != 0 || len(after.Popstate) != 0 || len(after.Messages) != n {
		b.Errorf("with an empty maildrop: status %#x, %d messages, popstate %v", after.Status, len(after.Messages), after.Popstate)
	}
}

// looks fetches once, and wants exactly sent in the Inbox, all of it remembered, and so many RETR and DELE.
func (b *thunderbird) looks(sent []mail, ids map[string]bool, retrieved, deleted int) {
	b.Helper()
	got := b.fetch()
	if got.Status != 0 {
		b.Fatalf("Thunderbird gives the reason %#x", got.Status)
	}
	b.transferred(retrieved, deleted)
	if len(got.Messages) != len(sent) {
		b.Fatalf("the Inbox holds %d messages, want %d", len(got.Messages), len(sent))
	}
	for i, m := range sent {
		b.Run(m.name, func(t *testing.T) {
			same(t, withoutTrace(t, []byte(got.Messages[i]), sender, alice), lf(stored(m.raw)))
		})
	}
	for id := range ids {
		if got.Popstate[id] != "k" {
			b.Errorf("%s is not remembered as kept: %v", id, got.Popstate)
		}
	}
	if len(got.Popstate) != len(ids) {
		b.Errorf("%d UIDLs are remembered, want %d", len(got.Popstate), len(ids))
	}
}

// transferred wants that the next session retrieved and deleted so many.
func (b *thunderbird) transferred(retrieved, deleted int) {
	b.Helper()
	b.seen++
	if got := b.server.popSessions(b.seen)[b.seen-1]; got.Retrieved != retrieved || got.Deleted != deleted {
		b.Errorf("%d retrieved and %d deleted, want %d and %d", got.Retrieved, got.Deleted, retrieved, deleted)
	}
}

// popSession is the log's line about a session of POP3 that is over.
type popSession struct {
	Role, Message      string
	Retrieved, Deleted int
}

// popSessions waits until the log tells of n sessions of POP3, and returns all that it tells of.
func (s *server) popSessions(n int) []popSession {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		_, changed := s.log.from(0)
		var all []popSession
		for line := range strings.Lines(s.log.String()) {
			var p popSession
			if json.Unmarshal([]byte(line), &p) == nil && p.Role == "pop3d" && p.Message == "session" {
				all = append(all, p)
			}
		}
		if len(all) >= n {
			return all
		}
		select {
		case <-changed:
		case <-deadline:
			s.t.Fatalf("waited in vain for session %d of POP3", n)
		}
	}
}
