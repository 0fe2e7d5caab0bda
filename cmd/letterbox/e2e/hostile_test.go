package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// mallory is who sends the mail that nobody may get.
const mallory = "mallory@elsewhere.example"

// smuggled is a second mail, as it would follow the end of a first.
const smuggled = "MAIL FROM:<" + mallory + ">\r\nRCPT TO:<" + bob + ">\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\nQUIT\r\n"

// attack is one hostile connection: what is sent behind the greeting, with alice's envelope in front where it has one.
type attack struct {
	name     string
	envelope bool
	sent     string
	least    int // messages that come of it
	most     int
}

// attacks are what the design and CVEs of other servers tell of.
func attacks() []attack {
	var all []attack
	ends := []string{
		"\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r.\n", "\r\r\n.\r\n", "\r\r\n.\r\r\n", "\r\n.\r\r\n",
		"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n..\r\n", "\n.\n.\n", " .\r\n", "\x85.\x85",
	}
	for _, end := range ends {
		first := "DATA\r\nSubject: first\r\n\r\nx" + end + smuggled
		all = append(all, attack{fmt.Sprintf("end of data %q", end), true, first, 0, 1},
			attack{fmt.Sprintf("end of data %q, and one", end), true, first + "\r\n.\r\n", 0, 1})
	}
	for _, half := range []string{
		"DATA\r\nSubject: half\r\n\r\nx", "DATA\r\nSubject: half\r\n\r\nx\r\n.", "BDAT 40 LAST\r\nSubject: half\r\n\r\n", "BDAT 15\r\nSubject: half\r\n",
		"BDAT 15\r\nSubject: half\r\nBDAT 6 LAST\r\nbody", "BDAT 15\r\nSubject: half\r\nBDAT 0 LAST", "BDAT 15\r\nSubject: half\r\nRSET\r\n" + smuggled,
		"BDAT 15\r\nSubject: half\r\nMAIL FROM:<" + mallory + ">\r\n" + smuggled, "BDAT 99999999999999999999 LAST\r\n" + smuggled,
		"BDAT -1 LAST\r\n" + smuggled, "BDAT 6 LASS\r\n" + smuggled, "BDAT 15\r\nSubject: half\r\nDATA\r\nx\r\n.\r\n",
	} {
		all = append(all, attack{fmt.Sprintf("half: %.40q", half), true, half, 0, 0})
	}
	return append(all,
		attack{"a wrong size", true, "BDAT 40 LAST\r\nSubject: whole\r\n\r\nx\r\n" + smuggled, 1, 1},
		attack{"HTTP", false, "POST / HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled, 0, 0},
		attack{"TLS in clear", false, "\x16\x03\x01\x00\x05hello" + smuggled, 0, 0},
		attack{"a line without an end", false, strings.Repeat("x", 1<<20) + "\r\n" + smuggled, 0, 0},
		attack{"no handshake behind STARTTLS", false, "EHLO x\r\nSTARTTLS\r\n" + smuggled, 0, 0},
		attack{"a broken handshake", false, "EHLO x\r\nSTARTTLS\r\n\x16\x03\x01\x00\x05hello" + smuggled, 0, 0},
	)
}

// TestHostileSenders sends the running binary, in clear and inside TLS, what hostile and broken senders do: each yields the message that
// was whole or none, never half a one nor the mail smuggled behind it, and a usual sender is served beside and afterwards.
func TestHostileSenders(t *testing.T) {
	s := serve(t)
	stuck := stuckReaders(t, s)
	for _, a := range attacks() {
		for _, listener := range []string{"smtp", "smtps"} {
			if listener == "smtps" && !a.envelope {
				continue
			}
			for _, waits := range []bool{false, true} {
				if waits && !strings.HasPrefix(a.sent, "DATA") {
					continue
				}
				a.run(t, s, listener, waits)
				a.judge(t, drain(t, s, alice), listener)
			}
		}
	}
	if got := drain(t, s, bob); len(got) != 0 {
		t.Errorf("smuggled: %.300q", got[0].raw)
	}
	c, err := dialSMTP(s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.deliver([]byte(header+"\r\nafterwards\r\n"), bob); err != nil {
		t.Error(err)
	}
	if got := drain(t, s, bob); len(got) != 1 {
		t.Errorf("%d messages of a usual sender came, want 1", len(got))
	}
	for _, c := range stuck {
		c.Close()
	}
}

// judge looks at what alice got of it.
func (a attack) judge(t *testing.T, got []fetched, listener string) {
	t.Helper()
	for _, m := range got {
		if !bytes.Contains(m.raw, []byte("Return-Path: <"+sender+">")) || bytes.Contains(m.raw, []byte("Subject: half")) {
			t.Errorf("%s over %s: got %.300q", a.name, listener, m.raw)
		}
	}
	if len(got) < a.least || len(got) > a.most {
		t.Errorf("%s over %s: %d messages, want %d to %d", a.name, listener, len(got), a.least, a.most)
	}
}

// run is one attack, to the end of its connection. Before the content of a DATA it waits for the 354, or does not: that decides
// who reads it.
func (a attack) run(t *testing.T, s *server, listener string, waits bool) {
	t.Helper()
	raw, err := net.Dial("tcp", s.addr[listener])
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	var c interface {
		net.Conn
		CloseWrite() error
	} = raw.(*net.TCPConn)
	if listener == "smtps" {
		c = tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // whose certificate it is does not matter here
	}
	r := bufio.NewReader(c)
	say := func(text string) {
		if _, err := io.WriteString(c, text); err != nil && a.most > 0 {
			t.Fatalf("%s over %s: %v", a.name, listener, err)
		}
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if a.envelope {
		say("EHLO x\r\nMAIL FROM:<" + sender + ">\r\nRCPT TO:<" + alice + ">\r\n")
		for answered := 0; answered < 3; {
			line, err := r.ReadString('\n')
			if err != nil || line[0] != '2' {
				t.Fatalf("%s over %s: envelope: %q, %v", a.name, listener, line, err)
			}
			if line[3] == ' ' {
				answered++
			}
		}
	}
	rest := a.sent
	if content, ok := strings.CutPrefix(rest, "DATA\r\n"); ok && waits {
		say("DATA\r\n")
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "354 ") {
			t.Fatalf("%s over %s: DATA: %q, %v", a.name, listener, line, err)
		}
		rest = content
	}
	say(rest)
	_ = c.CloseWrite()            // the server may have gone
	_, _ = io.Copy(io.Discard, r) // to its end, or a reset
}

// stuckReaders are senders that fill the connection with commands and never read an answer.
func stuckReaders(t *testing.T, s *server) []net.Conn {
	t.Helper()
	var all []net.Conn
	for range 5 {
		c, err := net.Dial("tcp", s.addr["smtp"])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		go io.WriteString(c, "EHLO x\r\n"+strings.Repeat("NOOP\r\n", 1<<16)) //nolint:errcheck // it ends with the connection
		all = append(all, c)
	}
	return all
}
