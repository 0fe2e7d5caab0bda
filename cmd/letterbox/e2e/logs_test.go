package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// logged is the log of a run with mail, a good login, bad ones, and clients that try to write a line of their own, and the
// number of bad logins.
func logged(t *testing.T) (lines []string, bad int) {
	t.Helper()
	cert, key := certificate(t)
	data := filepath.Join(t.TempDir(), "data")
	cmd := letterbox(t, "serve", "--data", data, "--log-format", "json", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--pop3s", "off",
		"--metrics", "off", "--hostname", "localhost", "--tls-cert", cert, "--tls-key", key, "--account", alice+":"+password)
	s := begin(t, data, cmd)
	s.ready("smtp", "pop3")
	put(t, s, smallMail(), alice)
	drain(t, s, alice)
	const forged = `x","role":"pop3d","remote":"192.0.2.1","result":"credential","message":"session"}`
	for _, user := range []string{alice, "nobody@example.org", forged} {
		c, err := dial(s.addr["pop3"])
		if err != nil {
			t.Fatal(err)
		}
		c.ok()
		c.pop("USER %s", user)
		if _, err := c.pop("PASS wrong"); err == nil {
			t.Fatal("a wrong password was taken")
		}
		c.pop("QUIT")
		c.Close()
		bad++
	}
	if c, err := dialSMTP(s.addr["smtp"]); err == nil {
		c.smtp("250", "MAIL FROM:<\"%s\"@example.org>", strings.ReplaceAll(forged, `"`, `\"`))
		c.smtp("250", "RCPT TO:<%s>", alice)
		c.smtp("354", "DATA")
		c.Write([]byte("x\r\n.\r\n"))
		c.reply("")
		c.Close()
	}
	s.terminate()
	s.waitExit(patience)
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return strings.Split(strings.TrimSpace(s.log.text.String()), "\n"), bad
}

// TestFail2ban lets fail2ban's own program read a real log with our filter: it finds the wrong passwords, and not what clients
// made up.
func TestFail2ban(t *testing.T) {
	need(t, "fail2ban-regex")
	lines, bad := logged(t)
	log := write(t, filepath.Join(t.TempDir(), "log"), []byte(strings.Join(lines, "\n")+"\n"))
	out, err := exec.Command("fail2ban-regex", "--print-all-matched", log, absolute(t, repository+"/deploy/fail2ban/filter.conf")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	want := fmt.Sprintf("Lines: %d lines, 0 ignored, %d matched, %d missed", len(lines), bad, len(lines)-bad)
	if !strings.Contains(string(out), want) || strings.Contains(string(out), "192.0.2.1 ") {
		t.Errorf("want %q:\n%s", want, out)
	}
}

// TestAlloy runs what the pipeline's stages name on a real log: each field is there, the moment can be read, and no label has
// a value that a client chose.
func TestAlloy(t *testing.T) {
	text, err := os.ReadFile(monitoring + "/config.alloy")
	if err != nil {
		t.Fatal(err)
	}
	expressions := regexp.MustCompile(`expressions = \{(.*)\}`).FindSubmatch(text)
	values := regexp.MustCompile(`values = \{(.*)\}`).FindSubmatch(text)
	if expressions == nil || values == nil {
		t.Fatal("the pipeline has no JSON stage, or no labels")
	}
	source := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+) = "(\w+)"`).FindAllStringSubmatch(string(expressions[1]), -1) {
		source[m[1]] = m[2]
	}
	lines, _ := logged(t)
	closed := regexp.MustCompile(`^[a-zA-Z0-9 ;,:-]{0,80}$`)
	for _, m := range regexp.MustCompile(`(\w+) = ""`).FindAllStringSubmatch(string(values[1]), -1) {
		label, seen := m[1], map[string]bool{}
		for _, line := range lines {
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			if v, ok := fields[source[label]].(string); ok {
				seen[v] = true
			}
		}
		if len(seen) == 0 {
			t.Errorf("no line of the log has %s, the source of the label %s", source[label], label)
		}
		for v := range seen {
			if !closed.MatchString(v) || strings.Contains(v, "192.0.2.1") {
				t.Errorf("the label %s has the value %q", label, v)
			}
		}
	}
}
