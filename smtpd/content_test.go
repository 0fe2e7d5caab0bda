package smtpd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// contents are ends of data, and what looks like one, for the tests of who reads them.
func contents() []string {
	return []string{
		".\r\n", "\r\n.\r\n", "a: b\r\n\r\nx\r\n.\r\n", "..\r\n.\r\n", "...\r\n\r\n..\r\n..a\r\n.\r\n", ".a\r\n.\r\n", "x\r\n.\rX\r\n.\r\n",
		"x\r\n.\r.\r\n.\r\n", ".\rX\r\n.\r\n", ".\r\r\n\r\n.\r\n", "x\n.\n\r\n.\r\n", "x\r\n.\n\r\n.\r\n", "x\r.\r\n\r\n.\r\n", "x\r\r\n.\r\nx\r\n.\r\n",
		"\x00\xff\r\n\x00.\r\n.\x00\r\n.\r\n", strings.Repeat("..x\r\n", 5000) + ".\r\n", strings.Repeat("y", 40_000) + "\r\n.\r\n",
		strings.Repeat("z\r\n", 4096/3) + "\r\n.\r\n",
	}
}

// TestContent: whoever reads the content of a DATA, the same message is in the store, and what stands behind it is commands.
// Under TLS, and where the client did not wait for the 354, that is go-smtp.
func TestContent(t *testing.T) {
	behind := strings.Repeat("NOOP "+strings.Repeat("x", 1500)+"\r\n", 12) // more than is read at once
	for _, text := range contents() {
		t.Run(fmt.Sprintf("%.40q", text), func(t *testing.T) {
			b := newBench(t, Policy{MaxCommands: 10_000}, Listener{Name: "test"})
			for name, hello := range bothWays() {
				for _, waits := range []bool{true, false} {
					c := hello(b)
					before := len(b.store.all())
					c.envelope()
					if waits {
						c.do("DATA", "354 ")
						c.pour(text + behind)
					} else {
						c.pour("DATA\r\n" + text + behind)
						c.want("354 ")
					}
					c.want("250 2.0.0 queued as ")
					for range 12 {
						c.want("250 2.0.0 I have")
					}
					c.do("QUIT", "221 ")
					all := b.store.all()
					if len(all) != before+1 || all[before].body != all[0].body {
						t.Fatalf("%s, waits %v: %d messages, the last is %.80q, the first %.80q", name, waits, len(all)-before, all[len(all)-1].body, all[0].body)
					}
				}
			}
		})
	}
}

// pour sends while the test reads.
func (c *client) pour(s string) {
	go io.WriteString(c.conn, s) // it fails only where a reply will be missed
}

// TestContentOverLMTP gives each recipient its reply, and goes on with the command behind.
func TestContentOverLMTP(t *testing.T) {
	b := newBench(t, Policy{MaxMessageBytes: 40_000}, Listener{Name: "test", LMTP: true})
	c := b.dial()
	c.want("220 ")
	c.do("LHLO x", "250 ")
	for _, tt := range []struct{ body, want string }{
		{"a: b\r\n\r\n..x\r\n", "250 2.0.0 "},
		{strings.Repeat("x\r\n", 15_000), "552 5.3.4 "},
		{"a: b\r\n\r\nx\r\n", "250 2.0.0 "},
	} {
		c.envelope()
		c.do("RCPT TO:<bob@a.test>", "250 ")
		c.do("DATA", "354 ")
		c.pour(tt.body + ".\r\nNOOP\r\n")
		c.want(tt.want + "<ann@a.test> ")
		c.want(tt.want + "<bob@a.test> ")
		c.want("250 2.0.0 I have")
	}
	if all := b.store.all(); len(all) != 2 || all[0].body != "a: b\r\n\r\n.x\r\n" {
		t.Errorf("%+v", all)
	}
}

// TestContentIsReadByUs: in clear go-smtp sees nothing of a content that comes behind the 354, and the client's silence and
// its end are found out all the same.
func TestContentIsReadByUs(t *testing.T) {
	g := newGuard(nil, "x", newRules(Policy{}))
	if g.canTake() {
		t.Error("a command is no content")
	}
	g.tap = tap{greeted: true, wantLine: true, mode: inCommand}
	g.tap.input([]byte("DATA\r\n"))
	g.tap.replying = true
	g.tap.output([]byte("354 go\r\n"))
	if !g.canTake() {
		t.Fatal("a content behind the 354 is not taken")
	}
	text := []byte("..a\r\n.\r\nNOOP\r\n")
	kept, over, _ := g.followContent(text)
	if string(text[:kept]) != ".a\r\n" || !over || string(g.left) != "NOOP\r\n" {
		t.Errorf("%q, %v, %q", text[:kept], over, g.left)
	}
	if n, err := (content{g}).Read(make([]byte, 9)); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	if !g.passContent() || g.passContent() {
		t.Error("go-smtp is told once that the content was taken")
	}
}

// FuzzContent holds our reading of a content against the published go-smtp's, in pieces of any size.
func FuzzContent(f *testing.F) {
	for _, s := range contents() {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(200))
	}
	f.Fuzz(func(t *testing.T, p []byte, piece uint8) {
		want, ended := libraryReads(t, p)
		var got []byte
		tap := tap{mode: inData, verb: "DATA"}
		for rest := bytes.Clone(p); len(rest) > 0 && tap.dots.state != dotEnd; {
			now := rest[:min(len(rest), int(piece)+1)]
			kept, taken, e := tap.content(now)
			if e != noEvent {
				return // a line that is too long for us
			}
			got = append(got, now[:kept]...)
			rest = rest[taken:]
		}
		if !bytes.Equal(got, want) || ended != (tap.dots.state == dotEnd) {
			t.Errorf("%.200q: %.200q, want %.200q; ended %v", p, got, want, ended)
		}
	})
}

// libraryReads returns what a go-smtp server hands to its backend of a content, and whether it sees its end.
func libraryReads(t *testing.T, content []byte) (got []byte, ended bool) {
	be := &reader{}
	s := smtp.NewServer(be)
	s.MaxLineLength = 0
	s.ErrorLog = errorLog{&session{guard: newGuard(nil, "", newRules(Policy{}))}}
	over := make(chan struct{})
	in := "EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n" + string(content)
	go s.Serve(&oneShot{conn: &script{in: strings.NewReader(in), over: over}, over: over})
	<-over
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	return be.first, be.ended
}

// reader is a backend that keeps what the first message is.
type reader struct {
	read  bool
	first []byte
	ended bool
}

func (r *reader) NewSession(*smtp.Conn) (smtp.Session, error) { return r, nil }
func (r *reader) Mail(string, *smtp.MailOptions) error        { return nil }
func (r *reader) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (r *reader) Reset()                                      {}
func (r *reader) Logout() error                               { return nil }

func (r *reader) Data(in io.Reader) error {
	p, err := io.ReadAll(in)
	if !r.read {
		r.read, r.first, r.ended = true, p, err == nil
	}
	return nil
}

// script is a connection whose client has said everything.
type script struct {
	net.Conn
	in   io.Reader
	over chan struct{}
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) RemoteAddr() net.Addr             { return oneShotAddr{} }
func (s *script) LocalAddr() net.Addr              { return oneShotAddr{} }

func (s *script) Close() error {
	select {
	case <-s.over:
	default:
		close(s.over)
	}
	return nil
}
