package pop3d

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"example.org/letterbox/store"
)

// brokenReader gives body and then err in place of io.EOF.
type brokenReader struct {
	io.Reader
	err error
}

func broken(body []byte, err error) io.ReadCloser { return &brokenReader{bytes.NewReader(body), err} }

func (r *brokenReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		err = r.err
	}
	return n, err
}

func (*brokenReader) Close() error { return nil }

// A message that turns out to be damaged before any of it left is refused, and the session goes on.
func TestDamagedMessageThatFitsTheBufferIsRefused(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{store.ErrCorrupt, "-ERR [SYS/PERM] this message is damaged on the server's disk"},
		{io.ErrUnexpectedEOF, "-ERR [SYS/TEMP] the mail store can't do that now, try again later"},
		{io.EOF, "-ERR [SYS/TEMP] the mail store can't do that now, try again later"}, // short
	} {
		f := newFake(standardMail(2)...)
		f.retrieve = func(i int, body []byte) (io.ReadCloser, error) {
			if i == 0 {
				if c.err == io.EOF {
					return broken(body[:10], io.EOF), nil
				}
				return broken(body, c.err), nil
			}
			return io.NopCloser(bytes.NewReader(body)), nil
		}
		b := serve(t, f)
		client := b.login()
		client.ask("RETR 1", c.want)
		client.ask("RETR 2", "+OK 22 octets")
		client.body()
		client.ask("QUIT", "+OK*")
		client.closed()
		if b.seen.end(t) != "quit" || b.seen.heard("retrieved 22 true") != 1 {
			t.Errorf("%v: %v", c.err, b.seen.lines)
		}
	}
}

// What the store refuses outright is refused to the client, for TOP, too.
func TestRetrieveFails(t *testing.T) {
	f := newFake(standardMail(1)...)
	f.retrieve = func(int, []byte) (io.ReadCloser, error) { return nil, fmt.Errorf("disk: %w", store.ErrUnavailable) }
	client := serve(t, f).login()
	client.ask("RETR 1", "-ERR [SYS/TEMP] *")
	client.ask("TOP 1 0", "-ERR [SYS/TEMP] *")
	client.ask("NOOP", "+OK")
}

// A message that turns out to be damaged, short or long once part of it is out ends the connection without the dot, in
// clear and under TLS, for RETR and for TOP.
func TestDamagedMessageCutsTheConnection(t *testing.T) {
	long := []byte("A: b\r\n\r\n" + strings.Repeat("0123456789\r\n", 20_000))
	faults := map[string]func(body []byte) io.ReadCloser{
		"corrupt": func(b []byte) io.ReadCloser { return broken(b, store.ErrCorrupt) },
		"failing": func(b []byte) io.ReadCloser { return broken(b[:len(b)/2], errors.New("input/output error")) },
		"short":   func(b []byte) io.ReadCloser { return broken(b[:len(b)-2], io.EOF) },
		"long":    func(b []byte) io.ReadCloser { return broken(append(b[:len(b):len(b)], "more\r\n"...), io.EOF) },
	}
	for name, fault := range faults {
		for _, command := range []string{"RETR 1", "TOP 1 1000000"} {
			for _, secure := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/tls=%t", name, command, secure), func(t *testing.T) {
					f := newFake(string(long))
					f.retrieve = func(_ int, body []byte) (io.ReadCloser, error) { return fault(body), nil }
					b := serve(t, f)
					c := b.dial()
					c.want("+OK*")
					records := &recordConn{Conn: c.conn}
					if secure {
						c.ask("STLS", "+OK*")
						c.conn = records
						c.startTLS()
					}
					c.ask("USER "+testName, "+OK*")
					c.ask("PASS "+testSecret, "+OK*")
					c.ask("DELE 1", "+OK*")
					c.ask("RSET", "+OK*")
					c.ask(command, "+OK*")
					sent, err := io.ReadAll(c.r)
					c.conn.Close()
					if err != nil {
						t.Errorf("no end: %v", err)
					}
					if last := records.last(); secure && last != recordData {
						t.Errorf("the last TLS record is of type %d: the end looks like a proper one", last)
					}
					if bytes.HasSuffix(sent, []byte("\r\n.\r\n")) {
						t.Error("the message looks whole")
					}
					if !bytes.HasPrefix(long, sent) {
						t.Error("what was sent is not the message's beginning")
					}
					if end := b.seen.end(t); end != "error" {
						t.Errorf("it ended with %s", end)
					}
				})
			}
		}
	}
}

// recordData is the type of a TLS record that holds data; 21 would be an alert, such as close_notify.
const recordData = 23

// recordConn keeps what comes over a connection.
type recordConn struct {
	net.Conn
	got []byte
}

func (c *recordConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.got = append(c.got, p[:n]...)
	return n, err
}

// last returns the type of the last TLS record, which TLS 1.2 does not hide.
func (c *recordConn) last() (kind byte) {
	for left := c.got; len(left) >= 5; {
		kind = left[0]
		left = left[min(len(left), 5+int(left[3])<<8+int(left[4])):]
	}
	return kind
}

// The store takes the maildrop away: the next command fails, whichever it is, and nothing is deleted.
func TestLostMaildrop(t *testing.T) {
	for _, next := range []string{"QUIT", "NOOP", "STAT", "RETR 2", "RSET"} {
		f := newFake(standardMail(2)...)
		b := serve(t, f)
		c := b.login()
		c.ask("DELE 1", "+OK*")
		close(f.lost)
		c.ask(next, "-ERR [SYS/TEMP] the maildrop is no longer this session's, nothing was deleted")
		c.closed()
		if end := b.seen.end(t); end != "lost" {
			t.Errorf("%s: it ended with %s", next, end)
		}
		if left, _, commits := f.state(); len(left) != 2 || commits != 0 {
			t.Errorf("%s: %v left after %d commits", next, left, commits)
		}
	}
}

// The store loses the maildrop while it commits.
func TestLostInCommit(t *testing.T) {
	f := newFake(standardMail(2)...)
	f.commitErr = fmt.Errorf("owner: %w", store.ErrLost)
	b := serve(t, f)
	c := b.login()
	c.ask("DELE 1", "+OK*")
	c.ask("QUIT", "-ERR [SYS/TEMP] some deleted messages not removed")
	c.closed()
	if end := b.seen.end(t); end != "lost" {
		t.Errorf("it ended with %s", end)
	}
}

// A panic ends its own session and frees its lock.
func TestPanicEndsOneSession(t *testing.T) {
	f := newFake(standardMail(2)...)
	f.retrieve = func(int, []byte) (io.ReadCloser, error) { panic("no such luck") }
	b := serve(t, f)
	other := b.dial()
	other.want("+OK*")
	c := b.login()
	c.ask("DELE 2", "+OK*")
	c.send("RETR 1\r\n")
	c.closed()
	if end := b.seen.end(t); end != "panic" {
		t.Errorf("it ended with %s", end)
	}
	other.ask("CAPA", "+OK*")
	if left, locked, _ := f.state(); len(left) != 2 || locked {
		t.Errorf("left %v, locked %t", left, locked)
	}
	if !strings.Contains(b.log.String(), "no such luck") {
		t.Error("the log does not say what happened")
	}
}

// QUIT is answered once, after the commit.
func TestQuitIsAnsweredAfterTheCommit(t *testing.T) {
	f := newFake(standardMail(1)...)
	writes := &countingConn{look: func(p []byte) {
		if _, locked, _ := f.state(); locked && bytes.Contains(p, []byte("signing off")) {
			t.Error("QUIT is answered and the maildrop still locked")
		}
	}}
	b := serveWrapped(t, func(c net.Conn) net.Conn {
		writes.Conn = c
		return writes
	}, f)
	c := b.login()
	c.ask("DELE 1", "+OK*")
	before, atCommit := writes.count.Load(), int64(0)
	f.onCommit = func() { atCommit = writes.count.Load() }
	c.ask("QUIT", "+OK*")
	c.closed()
	if b.seen.end(t); atCommit != before || writes.count.Load() != before+1 {
		t.Errorf("%d writes before QUIT, %d at the commit, %d in the end", before, atCommit, writes.count.Load())
	}
}

// A QUIT that came is carried out, whether its reply can be sent or not: here the client is gone while the store commits.
func TestQuitWhoseReplyCantBeSent(t *testing.T) {
	f := newFake(standardMail(3)...)
	b := serve(t, f)
	c := b.login()
	f.onCommit = func() {
		c.conn.(*net.TCPConn).SetLinger(0) // a reset
		c.conn.Close()
	}
	c.send("DELE 1\r\nDELE 3\r\nQUIT\r\n")
	b.seen.end(t)
	if left, locked, _ := f.state(); len(left) != 1 || left[0] != "uid-2" || locked {
		t.Errorf("left %v, locked %t", left, locked)
	}
}

// What a client sends behind QUIT does not turn the end into a reset, which could take the reply with it.
func TestQuitWithMoreBehindIt(t *testing.T) {
	c := serve(t, newFake()).login()
	c.send("QUIT\r\n" + strings.Repeat("NOOP\r\n", 5000))
	c.want("+OK*")
	c.closed()
}

// A QUIT sent blindly behind a RETR deletes nothing when the message could not be sent.
func TestQuitBehindAMessageThatCantBeSent(t *testing.T) {
	f := newFake(standardMail(1)...)
	b := serve(t, f)
	c := b.login()
	f.retrieve = func(_ int, body []byte) (io.ReadCloser, error) {
		c.conn.(*net.TCPConn).SetLinger(0)
		c.conn.Close()
		waitForReset(t, b)
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	c.send("RETR 1\r\nDELE 1\r\nQUIT\r\n")
	b.seen.end(t)
	if left, locked, commits := f.state(); len(left) != 1 || locked || commits != 0 {
		t.Errorf("left %v, locked %t, %d commits", left, locked, commits)
	}
}

// waitForReset waits until the server's end of its one connection knows that the client is gone.
func waitForReset(t *testing.T, b *bench) {
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	for g := range b.server.conns {
		// The session's own reader waits for nothing now: it runs the command that calls this.
		if _, err := g.Conn.Read(make([]byte, 1)); err == nil {
			t.Error("an octet came behind QUIT")
		}
	}
}

// The store hears of the session what it needs, and a client that moves keeps its maildrop active.
func TestLoginTellsTheStore(t *testing.T) {
	f := newFake(standardMail(1)...)
	b := serve(t, f)
	c := b.login()
	c.ask("NOOP", "+OK")
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.logins[0]
	if l.Session == "" || !l.Peer.IsLoopback() || l.TLS || l.Mechanism != "USER" || l.Name != testName {
		t.Errorf("%+v", l)
	}
	if f.active == 0 {
		t.Error("the store was not told that the client moved")
	}
}
