package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// deferrals are how the mail servers' logs say that they will try again.
var deferrals = map[string]string{"Postfix": "status=deferred", "Exim": " == ", "OpenSMTPD": "result=\"TempFail\""}

// TestSenders lets Postfix, Exim and OpenSMTPD deliver a queue by STARTTLS: first letterbox is away, then its store can't say
// who gets mail, then it is stopped and started again while mail comes in. Every message arrives once, and the sender hears
// of no failure.
func TestSenders(t *testing.T) {
	t.Parallel()
	for name, start := range mtas() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := freeAddress(t)
			_, port, _ := net.SplitHostPort(target)
			m := start(t, port)
			messages := 40
			if long() {
				messages = 500
			}
			sent := m.fill(messages)
			m.until("it has found letterbox away", func() bool { return m.logHolds(deferrals[name]) })

			data := filepath.Join(t.TempDir(), "data")
			serve := func() *server {
				s := launch(t, shape(t), data, "--smtp", target, "--pop3", "127.0.0.1:0", "--pop3s", "off",
					"--metrics", "127.0.0.1:0", "--hostname", "mx.example")
				s.ready("smtp", "pop3", "metrics")
				return s
			}
			s := serve()
			s.await(func(l logLine) bool { return l.Message == "refused" && l.Code == 451 })
			// A message that goes from one queue to another in this moment may be in none of those that are counted.
			m.until("all messages are queued while the store takes none", func() bool { return m.queued() == messages })
			for _, user := range []string{alice, bob} {
				add := letterbox(t, "user", "add", user, "--password-stdin", "--data", s.data)
				add.Stdin = strings.NewReader(password + "\n")
				if out, err := add.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", add, err, out)
				}
			}
			verb := "DATA"
			if name == "Exim" {
				verb = "BDAT" // chunks (RFC 3030), where they are offered
			}
			m.until("letterbox has counted its "+verb, func() bool { return counted(t, s, verb) })
			s.terminate()
			s = serve()
			m.until("its queue is empty", func() bool { return m.queued() == 0 })
			wantOnce(t, drain(t, s, alice), sent)
			if bounces := drain(t, s, bob); len(bounces) != 0 {
				t.Errorf("%d bounces, the first is\n%s", len(bounces), bounces[0].raw)
			}
		})
	}
}

// fill gives the mail server messages for alice, and returns their bodies by subject. A bounce would go to bob, by the same
// way.
func (m *mta) fill(n int) map[string][]byte {
	m.Helper()
	c, err := dialSMTP(m.addr)
	if err != nil {
		m.Fatal(err)
	}
	defer c.Close()
	sent := map[string][]byte{}
	for i := range n {
		subject, body := fmt.Sprintf("message %d", i), text(2000, uint64(i))
		raw := fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nSubject: %s\r\n\r\n%s", bob, alice, subject, body)
		for _, step := range [][2]string{{"250", "MAIL FROM:<" + bob + ">"}, {"250", "RCPT TO:<" + alice + ">"}, {"354", "DATA"}} {
			if _, err := c.smtp(step[0], "%s", step[1]); err != nil {
				m.Fatalf("%s: %v", step[1], err)
			}
		}
		if _, err := c.Write(dotStuffed(raw)); err != nil {
			m.Fatal(err)
		}
		if _, err := c.reply("250"); err != nil {
			m.Fatal(err)
		}
		sent[subject] = body
	}
	return sent
}

// wantOnce wants each message that was sent, once, unaltered and by TLS.
func wantOnce(t *testing.T, got []fetched, sent map[string][]byte) {
	t.Helper()
	missing := len(sent)
	seen := map[string]bool{}
	for _, one := range got {
		head, body, _ := bytes.Cut(one.raw, []byte("\r\n\r\n"))
		subject := string(regexp.MustCompile(`(?m)^Subject: ([^\r]*)`).FindSubmatch(head)[1])
		want, ours := sent[subject]
		switch {
		case !ours:
			t.Errorf("a message %q, which nobody sent", subject)
		case seen[subject]:
			t.Errorf("%q came twice", subject)
		case !bytes.Equal(body, want):
			same(t, body, want)
		case !bytes.Contains(head, []byte("\r\n\tby mx.example with ESMTPS\r\n\t(TLS1.3 ")):
			t.Errorf("%q did not come by TLS:\n%s", subject, head)
		default:
			missing--
		}
		seen[subject] = true
	}
	if missing > 0 {
		t.Errorf("%d of %d messages are missing", missing, len(sent))
	}
}

// counted tells whether the metrics know of a command with this verb that was done.
func counted(t *testing.T, s *server, verb string) bool {
	t.Helper()
	answer, err := http.Get("http://" + s.metricsOf("smtpd") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	series, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`letterbox_smtp_commands_total\{[^}]*verb="` + verb + `"[^}]*\} [1-9]`).Match(series)
}
