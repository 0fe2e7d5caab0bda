package pop3d

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
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

// stages are the ways to the states in which FuzzSession begins.
func stages() []string {
	login := "USER " + testName + "\r\nPASS " + testSecret + "\r\n"
	return []string{
		"", login, // AUTHORIZATION and TRANSACTION
		"USER " + testName + "\r\n", "UTF8\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN\r\n", "AUTH LOGIN " + base64.StdEncoding.EncodeToString([]byte(testName)) + "\r\n",
		login + "DELE 1\r\n", login + "DELE 1\r\nDELE 2\r\nDELE 3\r\n",
	}
}

// FuzzSession plays any client, in each state, and reads the replies as a client must be able to: one for each line, in
// order, multi-line ones to their dot; nothing is deleted without a QUIT that was answered.
func FuzzSession(f *testing.F) {
	for _, script := range []string{
		"CAPA\r\nUSER " + testName + "\r\nPASS secret\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nTOP 2 1\r\nDELE 1\r\nRSET\r\nDELE 2\r\nNOOP\r\nQUIT\r\n",
		"AUTH\r\nAUTH PLAIN\r\n" + base64.StdEncoding.EncodeToString([]byte("\x00"+testName+"\x00secret")) + "\r\nDELE 3\r\nQUIT\r\n",
		"AUTH PLAIN\r\n*\r\nAUTH PLAIN =\r\nAUTH PLAIN ====\r\nAUTH X Y Z\r\n",
		"STLS\r\nUSER x\r\n", "STLS\r\n\x16\x03\x01", "GET / HTTP/1.0\r\n\r\n", "DELE 4294967297\r\nDELE -1\r\nDELE 0\r\n",
		"USER a\nPASS  b \n\n\n", "QUIT", "DELE 1\r\nQUIT\r", "\x80\x81\r\n", strings.Repeat("X\r\n", 40),
		"USER " + strings.Repeat("a", 300) + "\r\nQUIT\r\n", "LANG\r\nLANG *\r\nUTF8\r\nAUTH LOGIN\r\n\r\n*\r\n",
	} {
		for stage := range stages() {
			f.Add([]byte(script), uint8(stage))
		}
	}
	f.Fuzz(func(t *testing.T, script []byte, stage uint8) {
		script = append([]byte(stages()[int(stage)%len(stages())]), script...)
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
		for strings.HasPrefix(status, "+ ") { // a challenge: the line behind answers it
			if i++; i >= len(lines) || said == "" {
				break
			}
			status = next()
		}
		switch {
		case strings.HasPrefix(status, "+ "):
		case strings.HasPrefix(status, "-ERR "):
		case !strings.HasPrefix(status, "+OK"):
			t.Fatalf("%q answers %q", status, lines[i])
		case slices.Contains([]string{"CAPA", "RETR", "TOP"}, words[0]) || len(words) == 1 && slices.Contains([]string{"LIST", "UIDL", "AUTH", "LANG"}, words[0]):
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

// FuzzAuth plays any client within an exchange of each mechanism. Nobody is logged in who did not send the password or, by
// SCRAM, can't: the nonce is new each time. Nothing that is sent goes into the log.
func FuzzAuth(f *testing.F) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, responses := range []string{
		encode("\x00"+testName+"\x00"+testSecret) + "\r\n", encode("x\x00"+testName+"\x00"+testSecret) + "\r\n", "*\r\n", "=\r\n", "\r\n",
		encode(testName) + "\r\n" + encode(testSecret) + "\r\n", encode("n,,n="+testName+",r=abc") + "\r\n" + encode("c=biws,r=abc,p=AAAA") + "\r\n",
		encode("p=tls-exporter,,n=a,r=b") + "\r\n*\r\n", encode("y,a==2C,n==3D=,r=b") + "\r\n", strings.Repeat("A", maxLine) + "\r\n",
	} {
		for mechanism := range mechanismTable() {
			f.Add(uint8(mechanism), true, []byte(responses))
			f.Add(uint8(mechanism), false, []byte(responses))
		}
	}
	f.Fuzz(func(t *testing.T, mechanism uint8, initial bool, responses []byte) {
		table := mechanismTable()
		script := "AUTH " + table[int(mechanism)%len(table)].name
		if initial {
			script += " " + string(responses)
		} else {
			script += "\r\n" + string(responses)
		}
		store, seen, log := newFake("A: b\r\n\r\n"), newRecorder(), &lockedBuffer{}
		conn := &scriptConn{input: strings.NewReader(script)}
		config := Config{Hostname: "h", Store: store, Observer: seen, Log: zerolog.New(log)}
		New(config, Policy{SCRAM: true}).Handle(conn, Listener{Name: "fuzz"})
		readReplies(t, []byte(script), conn.said.String())
		for _, name := range []string{mechanismSCRAM, mechanismSCRAMPlus} {
			if seen.heard("login "+name+" ok") > 0 {
				t.Errorf("%s logged in with %q", name, script)
			}
		}
		in := seen.heard("login PLAIN ok") + seen.heard("login LOGIN ok") + seen.heard("login USER ok")
		for _, l := range store.logins {
			if l.Secret == testSecret {
				in--
			}
		}
		if in > 0 {
			t.Errorf("logged in with %q, which holds no password", script)
		}
		for _, line := range strings.Split(string(responses), "\r\n") {
			if len(line) > 12 && strings.Contains(log.String(), line) {
				t.Errorf("%q stands in the log", line)
			}
		}
		if reason := seen.end(t); reason == "panic" {
			t.Errorf("%q ends in a panic", script)
		}
	})
}

// FuzzRetrieve has a whole session send any message: RETR gives as many octets as LIST and itself announce, and TOP the
// lines that RFC 1939 section 7 says.
func FuzzRetrieve(f *testing.F) {
	for _, body := range []string{
		"", ".", ".\r\n..\r\n", "A: b\r\n\r\n.\r\n.\r\n.", "A: b\r\n", "\r\n\xff\x80\x00\r\n", "\x00", strings.Repeat("x", 1<<20) + "\r\n\r\n." + strings.Repeat(".", 1<<20),
		"A: b\r\n\r\n" + strings.Repeat("\r\n.", 20_000), strings.Repeat("a: b\r\n", 9000) + "\r\n\n.\n",
	} {
		for _, n := range []int64{0, 1, 7, 1<<63 - 1} {
			f.Add([]byte(body), n, false)
			f.Add([]byte(body), n, true)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, n int64, noNULs bool) {
		if len(body) > 0 && !bytes.HasSuffix(body, []byte("\r\n")) {
			body = append(body, "\r\n"...) // every message of a store ends so
		}
		n = max(n, 0)
		script := fmt.Sprintf("USER %s\r\nPASS %s\r\nLIST 1\r\nRETR 1\r\nTOP 1 %d\r\nQUIT\r\n", testName, testSecret, n)
		conn := &scriptConn{input: strings.NewReader(script)}
		New(Config{Hostname: "h", Store: newFake(string(body))}, Policy{NoNULs: noNULs}).Handle(conn, Listener{})
		want := string(body)
		if noNULs {
			want = strings.ReplaceAll(want, "\x00", "\x80")
		}
		size := strconv.Itoa(len(body))
		replies := "+OK h POP3 ready\r\n+OK send PASS\r\n+OK maildrop has 1 messages (" + size + " octets)\r\n+OK 1 " + size + "\r\n+OK " + size + " octets\r\n"
		said, ok := strings.CutPrefix(conn.said.String(), replies)
		if !ok {
			t.Fatalf("%.300q", conn.said.String())
		}
		end := strings.Index(said, "+OK top of message follows\r\n")
		quit := strings.LastIndex(said, "+OK h POP3 server")
		if end < 0 || quit < 0 {
			t.Fatalf("%.300q", said)
		}
		if got := unstuff(t, said[:end]); got != want {
			t.Errorf("RETR of %.200q gives %.200q", want, got)
		}
		top := modelTop([]byte(want), n)
		if got := unstuff(t, strings.TrimPrefix(said[end:quit], "+OK top of message follows\r\n")); got != top && got != top+"\r\n" {
			t.Errorf("TOP %d of %.200q gives %.200q", n, want, got)
		}
	})
}
