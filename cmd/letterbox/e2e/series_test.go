package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// names returns the series of a scrape, without their values.
func names(scrape []byte) map[string]bool {
	all := map[string]bool{}
	for line := range bytes.Lines(scrape) {
		if at := bytes.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			all[string(line[:at])] = true
		}
	}
	return all
}

// TestNoClientMakesSeries lets clients say anything for a while: not one series comes that was not there before.
func TestNoClientMakesSeries(t *testing.T) {
	t.Parallel()
	s := watched(t)
	put(t, s, smallMail(), alice) // the moments are there once something happened
	drain(t, s, alice)
	put(t, s, smallMail(), alice)
	before := names(s.scrape(t))
	for deadline := time.Now().Add(patience); !before["letterbox_store_oldest_unfetched_message_timestamp_seconds"]; before = names(s.scrape(t)) {
		if time.Now().After(deadline) { // it waits for the index
			t.Fatal("no message is unfetched")
		}
	}
	limit := 5 * time.Second
	if long() {
		limit = 20 * time.Second
	}
	var clients sync.WaitGroup
	for i, listener := range []string{"smtp", "smtps", "lmtp", "pop3", "pop3s", "smtp", "pop3"} {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for end := time.Now().Add(limit); time.Now().Before(end); {
				babble(s.addr[listener], random)
			}
		})
	}
	clients.Wait()
	for name := range names(s.scrape(t)) {
		if !before[name] {
			t.Errorf("a client made the series %s", name)
		}
	}
}

// babble is one connection full of commands, some of them right.
func babble(addr string, random *rand.Rand) {
	c, err := dial(addr)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	words := []string{"EHLO", "HELO", "LHLO", "MAIL FROM:<a@b>", "RCPT TO:<" + alice + ">", "DATA", "BDAT", "STARTTLS", "VRFY", "AUTH PLAIN", "RSET",
		"USER", "PASS", "STAT", "RETR", "APOP", "CAPA", "UIDL", "\x16\x03\x01", "GET / HTTP/1.1", alice, password, "0", "99", ".", "=", "ı"}
	for range random.IntN(20) {
		line := words[random.IntN(len(words))]
		for range random.IntN(3) {
			line += " " + words[random.IntN(len(words))]
		}
		if random.IntN(4) == 0 {
			line = fmt.Sprintf("%c%s%x", rune(random.IntN(256)), line, random.Uint64())
		}
		fmt.Fprintf(c, "%s\r\n", line)
		if random.IntN(2) == 0 {
			c.r.ReadString('\n')
		}
	}
}

// TestScrapeIsAccepted lets Prometheus's own tool read a scrape.
func TestScrapeIsAccepted(t *testing.T) {
	need(t, "promtool")
	s := watched(t)
	put(t, s, smallMail(), alice)
	drain(t, s, alice)
	promtool(t, t.TempDir(), s.scrape(t), "check", "metrics")
}

// TestWebConfig serves the metrics behind a password, as the web configuration of Prometheus's own programs says it; a file that
// is wrong is refused at the start.
func TestWebConfig(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(t.TempDir(), "web.yml"), []byte("basic_auth_users: {prometheus: '"+string(hash)+"'}\n"))
	cmd := letterbox(t, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--log-format", "json", "--smtp", "off", "--pop3", "off",
		"--pop3s", "off", "--metrics", "127.0.0.1:0")
	cmd.Env = append(cmd.Env, "LETTERBOX_METRICS_WEB_CONFIG="+file)
	s := begin(t, "", cmd)
	s.ready("metrics")
	for _, test := range []struct {
		password string
		want     int
	}{{"secret", http.StatusOK}, {"wrong", http.StatusUnauthorized}} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr["metrics"]+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.SetBasicAuth("prometheus", test.password)
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != test.want {
			t.Errorf("password %s: %s", test.password, r.Status)
		}
	}
	write(t, file, []byte("basic_auth: yes\n"))
	check := letterbox(t, "config", "check")
	check.Env = append(check.Env, "LETTERBOX_METRICS_WEB_CONFIG="+file)
	if code, text := exit(t, check); code != 2 || !bytes.Contains([]byte(text), []byte("metrics.web_config")) {
		t.Errorf("exit code %d: %s", code, text)
	}
}
