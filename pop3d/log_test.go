package pop3d

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
)

// No password, and no octet of a client that has not logged in, reaches the log.
func TestLogHoldsNoSecret(t *testing.T) {
	f := newFake(standardMail(2)...)
	b := serve(t, f)
	session := func(commands ...string) {
		c := b.dial()
		c.send(strings.Join(commands, "\r\n") + "\r\n")
		io.ReadAll(c.r)
		c.conn.Close()
		b.seen.end(t)
	}
	session("USER stranger@example.org", "PASS hunter2 \x1b[31m", "PASS hunter2", "PSAS hunter2", "USER hunter2 hunter2",
		"AUTH PLAIN aHVudGVyMg==", "AUTH PLAIN", "AHN0cmFuZ2VyAGh1bnRlcjI=", "AUTH hunter2", "QUIT")
	session("USER "+testName, "PASS "+testSecret, "RETR 1", "DELE 1", "hunter2", "QUIT")
	session("USER "+testName, "PASS "+testSecret, "DELE 1", "GET /hunter2 HTTP/1.1")
	if b.seen.heard("deleted 1") != 1 || b.seen.heard("discarded 1") != 1 {
		t.Errorf("one message was deleted, one mark discarded: %v", b.seen.lines)
	}
	log := b.log.String()
	for _, secret := range []string{"hunter2", testSecret, "stranger", "aHVudGVyMg", "AHN0cmFuZ2Vy"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q stands in the log:\n%s", secret, log)
		}
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	want := []map[string]any{
		{"result": "credential", "reason": "quit", "retrieved": 0.0, "deleted": 0.0, "account": nil},
		{"result": "ok", "reason": "quit", "retrieved": 1.0, "deleted": 1.0, "octets": 22.0, "account": testName},
		{"result": "dropped", "reason": "protocol", "retrieved": 0.0, "deleted": 0.0, "account": testName},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines:\n%s", len(lines), log)
	}
	for i, line := range lines {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		for key, value := range want[i] {
			if got[key] != value {
				t.Errorf("line %d: %s is %v, want %v", i, key, got[key], value)
			}
		}
		if got["role"] != "pop3d" || got["listener"] != "test" || got["remote"] != "127.0.0.1" || got["sid"] == "" {
			t.Errorf("line %d: %s", i, line)
		}
	}
}

// Everything that an observer is told stands in LabelValues.
func TestObserverHearsLabelsAlone(t *testing.T) {
	labels := LabelValues()
	b := serve(t, newFake(standardMail(1)...))
	c := b.dial()
	c.send("CAPA\r\nEVIL\r\nUSER x\r\nPASS y\r\nAUTH EVIL\r\nUSER " + testName + "\r\nPASS " + testSecret + "\r\nRETR 1\r\nQUIT\r\n")
	io.ReadAll(c.r)
	c.conn.Close()
	b.seen.end(t)
	places := map[string][]string{
		"connection": {"", "connection"}, "end": {"", "end"}, "command": {"verb", ""}, "login": {"mechanism", "login"},
	}
	for _, line := range b.seen.lines {
		words := strings.Fields(line)
		for i, key := range places[words[0]] {
			if key != "" && !slices.Contains(labels[key], words[i+1]) {
				t.Errorf("%q: %s is no value of %s", line, words[i+1], key)
			}
		}
	}
	if b.seen.heard("command other false") != 1 || b.seen.heard("login USER credential") != 1 {
		t.Errorf("%v", b.seen.lines)
	}
}

// A password does not stay in the buffer, neither while the store decides nor while the session waits.
func TestSecretsAreWiped(t *testing.T) {
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + testName + "\x00hunter2"))
	script := "USER " + testName + "\r\nPASS hunter2\r\nAUTH PLAIN " + plain + "\r\nAUTH PLAIN\r\n" + plain + "\r\nCAPA\r\n"
	logins := strings.Split(script, "AUTH")
	for piece := 1; piece < 40; piece++ {
		conn := &scriptConn{input: &pieces{strings.NewReader(script), piece}}
		f := newFake()
		s := newSession(New(Config{Store: f}, Policy{}), &guard{Conn: conn}, Listener{})
		clean := func() {
			if bytes.Contains(s.in.buf[:s.in.start], []byte("hunter2")) || bytes.Contains(s.in.buf[:s.in.start], []byte(plain)) {
				t.Errorf("in pieces of %d: a password is still in the buffer", piece)
			}
		}
		f.onOpen = clean
		s.run()
		s.in.start = len(s.in.buf)
		clean()
		if len(f.logins) != len(logins) {
			t.Errorf("%d logins, want %d", len(f.logins), len(logins))
		}
	}
}

// A name that the store took stands in the log without what a terminal might obey.
func TestNameInTheLog(t *testing.T) {
	if got := printable("a\x1b[31m\r\n\u202e\xffé@b"); got != "a?[31m????é@b" {
		t.Errorf("%q", got)
	}
}
