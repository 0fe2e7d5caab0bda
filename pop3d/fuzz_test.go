package pop3d

import (
	"bytes"
	"encoding/base64"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// scriptConn gives a client's octets, then its end, and keeps what it is told.
type scriptConn struct {
	input io.Reader
	said  bytes.Buffer
}

func (c *scriptConn) Read(p []byte) (int, error)       { return c.input.Read(p) }
func (c *scriptConn) Write(p []byte) (int, error)      { return c.said.Write(p) }
func (*scriptConn) Close() error                       { return nil }
func (*scriptConn) LocalAddr() net.Addr                { return &net.UnixAddr{} }
func (*scriptConn) RemoteAddr() net.Addr               { return &net.UnixAddr{} }
func (*scriptConn) SetDeadline(time.Time) error        { return nil }
func (*scriptConn) SetReadDeadline(time.Time) error    { return nil }
func (*scriptConn) SetWriteDeadline(t time.Time) error { return nil }

// FuzzSession plays any client, before and after login, and reads the replies as a client must be able to: one for each
// line, in order, multi-line ones to their dot; nothing is deleted without a QUIT that was answered.
func FuzzSession(f *testing.F) {
	for _, script := range []string{
		"CAPA\r\nUSER " + testName + "\r\nPASS secret\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nTOP 2 1\r\nDELE 1\r\nRSET\r\nDELE 2\r\nNOOP\r\nQUIT\r\n",
		"AUTH\r\nAUTH PLAIN\r\n" + base64.StdEncoding.EncodeToString([]byte("\x00"+testName+"\x00secret")) + "\r\nDELE 3\r\nQUIT\r\n",
		"AUTH PLAIN\r\n*\r\nAUTH PLAIN =\r\nAUTH PLAIN ====\r\nAUTH X Y Z\r\n",
		"STLS\r\nUSER x\r\n", "STLS\r\n\x16\x03\x01", "GET / HTTP/1.0\r\n\r\n", "DELE 4294967297\r\nDELE -1\r\nDELE 0\r\n",
		"USER a\nPASS  b \n\n\n", "QUIT", "DELE 1\r\nQUIT\r", "\x80\x81\r\n", strings.Repeat("X\r\n", 40),
		"USER " + strings.Repeat("a", 300) + "\r\nQUIT\r\n",
	} {
		f.Add([]byte(script), false)
		f.Add([]byte(script), true)
	}
	f.Fuzz(func(t *testing.T, script []byte, login bool) {
		if login {
			script = append([]byte("USER "+testName+"\r\nPASS "+testSecret+"\r\n"), script...)
		}
		store := newFake("A: b\r\n\r\n.\r\n..\r\n", "\r\n", "")
		conn := &scriptConn{input: bytes.NewReader(script)}
		seen := newRecorder()
		New(Config{Hostname: "h", Store: store, Observer: seen}, Policy{}).Handle(conn, Listener{Name: "fuzz"})
		left, locked, commits := store.state()
		if locked {
			t.Error("the maildrop stays locked")
		}
		quit := readReplies(t, script, conn.said.String())
		if commits > 0 && !quit || commits > 1 || commits == 0 && len(left) != 3 {
			t.Errorf("%d commits, quit %t, left %v", commits, quit, left)
		}
		if reason := seen.end(t); !slices.Contains(LabelValues()["end"], reason) || reason == "panic" {
			t.Errorf("it ended with %q", reason)
		}
	})
}

// readReplies matches replies with the lines that they answer and tells whether a QUIT was answered.
func readReplies(t *testing.T, script []byte, said string) (quit bool) {
	next := func() string {
		line, rest, ok := strings.Cut(said, "\r\n")
		if !ok {
			t.Fatalf("%q is no line", said)
		}
		said = rest
		return line
	}
	if greeting := next(); greeting != "+OK h POP3 ready" {
		t.Fatalf("greeting %q", greeting)
	}
	lines, err := modelLines(script)
	for i := 0; i < len(lines) && said != "" && !quit; i++ {
		words := strings.Fields(strings.ToUpper(lines[i]))
		status := next()
		if status == "+ " { // a challenge: the line behind answers it
			if i++; i >= len(lines) {
				break
			}
			status = next()
		}
		switch {
		case strings.HasPrefix(status, "-ERR "):
		case !strings.HasPrefix(status, "+OK"):
			t.Fatalf("%q answers %q", status, lines[i])
		case slices.Contains([]string{"CAPA", "RETR", "TOP"}, words[0]) || len(words) == 1 && slices.Contains([]string{"LIST", "UIDL", "AUTH"}, words[0]):
			for next() != "." {
			}
		case words[0] == "QUIT":
			quit = true
		}
	}
	if err != io.EOF && said != "" {
		if status := next(); !strings.HasPrefix(status, "-ERR ") { // the line that could not be read
			t.Errorf("%q", status)
		}
	}
	if said != "" {
		t.Errorf("%q answers nothing", said)
	}
	return quit
}

// FuzzNumber holds parseNumber to its word: what it takes is what the digits say.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"1", "0", "-1", "+1", "007", "1_0", "0x1", "4294967297", "9223372036854775808", "٣", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, word string) {
		n, ok := parseNumber(word)
		digits := word != "" && strings.Trim(word, "0123456789") == ""
		if ok && (!digits || n < 0) || !ok && digits && len(word) < 19 {
			t.Errorf("%q is %d, %t", word, n, ok)
		}
	})
}
