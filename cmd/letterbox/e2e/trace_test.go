package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tracedEvent is what these tests read of an answer of `letterbox trace --json`.
type tracedEvent struct {
	Event, Sid, Remote, From, Verb, Reason string
	Msgs, To, Accounts                     []string
	Code                                   int
	MessageID                              string `json:"message_id"`
}

// trace asks for what the history knows.
func trace(t *testing.T, s *server, text string) (events []tracedEvent) {
	t.Helper()
	out, err := letterbox(t, "trace", text, "--json", "--data", s.data).Output()
	if err != nil {
		t.Fatalf("trace %s: %v", text, err)
	}
	var answer struct{ Events []tracedEvent }
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Events
}

// traceUntil asks until the kinds of events are these: what one process notes for another is on its way for a moment.
func traceUntil(t *testing.T, s *server, text, want string) []tracedEvent {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		events := trace(t, s, text)
		var kinds []string
		for _, e := range events {
			kinds = append(kinds, strings.TrimSpace(e.Event+" "+e.Verb))
		}
		got := strings.Join(kinds, ", ")
		if got == want {
			return events
		}
		if time.Now().After(deadline) {
			t.Fatalf("trace %s: %s, want %s", text, got, want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestTrace sends, fetches and deletes mail, has some refused, and asks who knows what of it: in every shape, while it runs,
// when it has stopped, and when it runs again.
func TestTrace(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes() {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := serveShape(t, shape, filepath.Join(t.TempDir(), "data"), "--max-message-bytes", "70000")
			id := put(t, s, smallMail(), alice)
			if got := drain(t, s, alice); len(got) != 1 {
				t.Fatalf("%d messages", len(got))
			}
			refuseSome(t, s)
			checkTraces(t, s, id)
			s.terminate()
			checkTraces(t, s, id)
		})
	}
}

// refuseSome has mail refused at RCPT and at DATA, and a MAIL that names too large a size.
func refuseSome(t *testing.T, s *server) {
	t.Helper()
	c, err := dialSMTP(s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range [][2]string{
		{"250", "MAIL FROM:<Eve@Elsewhere.example>"}, {"550", "RCPT TO:<nobody@mail.example>"}, {"550", "RCPT TO:<x@not-here.example>"},
		{"250", "RCPT TO:<" + bob + ">"}, {"354", "DATA"},
		{"552", "Message-Id: <big@elsewhere.example>\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1500) + "."},
	} {
		if _, err := c.smtp(step[0], "%s", step[1]); err != nil {
			t.Fatal(err)
		}
	}
}

func checkTraces(t *testing.T, s *server, id string) {
	t.Helper()
	const life = "accepted, retrieved, deleted"
	for _, text := range []string{id, strings.ToLower(id), "one@elsewhere.example", "<one@elsewhere.example>", sender, "<" + strings.ToUpper(sender) + ">", alice} {
		events := traceUntil(t, s, text, life)
		in, out := events[0], events[2]
		if in.Msgs[0] != id || in.From != sender || in.To[0] != alice || in.MessageID != "one@elsewhere.example" || in.Remote != "127.0.0.1" || in.Sid == "" {
			t.Errorf("%s: accepted as %+v", text, in)
		}
		if out.Msgs[0] != id || out.Accounts[0] != alice || out.Remote != "127.0.0.1" || out.Sid == "" || out.Sid == in.Sid {
			t.Errorf("%s: deleted as %+v", text, out)
		}
	}
	for text, want := range map[string]string{
		"nobody@mail.example": "RCPT 550 unknown", "x@not-here.example": "RCPT 550 not-local", bob: "DATA 552 size", "<big@elsewhere.example>": "DATA 552 size",
	} {
		e := traceUntil(t, s, text, "refused "+want[:4])[0]
		if got := fmt.Sprintf("%s %d %s", e.Verb, e.Code, e.Reason); got != want || e.From != "eve@elsewhere.example" || e.Remote != "127.0.0.1" {
			t.Errorf("%s: %+v, want %s", text, e, want)
		}
	}
	traceUntil(t, s, "eve@elsewhere.example", "refused RCPT, refused RCPT, refused DATA")
	traceUntil(t, s, "nobody@elsewhere.example", "")
}

// TestTraceKill kills letterbox again and again while mail comes: afterwards the history is whole lines, knows what it knew,
// and what is noted next stands there, too.
func TestTraceKill(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	var known []string
	for range 4 {
		s := serveData(t, data)
		known = append(known, put(t, s, smallMail(), alice))
		for _, id := range known {
			traceUntil(t, s, id, "accepted") // asking writes what waits
		}
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for i := 0; ; i++ {
				if _, err := tryPut(s, smallMail(), bob); err != nil {
					return
				}
				tryPut(s, smallMail(), fmt.Sprintf("nobody%d@mail.example", i)) //nolint:errcheck // it is refused
			}
		}()
		for before := historySize(t, data); historySize(t, data) < before+20_000; {
			time.Sleep(10 * time.Millisecond)
		}
		s.kill()
		<-stop
		half, err := os.OpenFile(lastHistory(t, data), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		half.WriteString(`{"time":"2026-`) //nolint:errcheck // what a loss of power may leave
		half.Close()
	}
	s := serveData(t, data)
	for _, id := range known {
		traceUntil(t, s, id, "accepted")
	}
	if n := len(trace(t, s, bob)); n < 10 {
		t.Errorf("%d deliveries are known", n)
	}
}

func histories(t *testing.T, data string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "history", "*.mail*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func lastHistory(t *testing.T, data string) string {
	t.Helper()
	files := histories(t, data)
	if len(files) == 0 {
		t.Fatal("no history")
	}
	return files[len(files)-1]
}

func historySize(t *testing.T, data string) (octets int64) {
	t.Helper()
	for _, name := range histories(t, data) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		octets += info.Size()
	}
	return octets
}

// TestTraceFullDisk: while the disk is full the history gives way, and mail goes on as without it.
func TestTraceFullDisk(t *testing.T) {
	dir := tmpfs(t, "512m")
	s := serveData(t, filepath.Join(dir, "data"))
	acked := putSome(t, s, alice)
	traceUntil(t, s, acked[0], "accepted")
	filler := fill(t, dir, 1<<20)
	acked = append(acked, untilRefused(t, s, alice)...)
	traceUntil(t, s, acked[0], "accepted")
	wantMail(t, drain(t, s, alice), acked, alice)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	late := putAgain(t, s, smallMail(), bob)
	for deadline := time.Now().Add(patience); len(trace(t, s, late)) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the history does not go on")
		}
		late = putAgain(t, s, smallMail(), bob) // the store looks for room now and then
	}
}
