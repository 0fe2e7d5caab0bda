package probe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// scripted is a server that says lines and waits for lines: those that begin with "C: " come from the client. It tests what a
// server that keeps to the protocol never does; real servers are met in the tests of the program.
func scripted(t *testing.T, script string) Options {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- play(l, script) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	return Options{Target: l.Addr().String(), Timeout: 20 * time.Second}
}

func play(l net.Listener, script string) error {
	c, err := l.Accept()
	if err != nil {
		return nil // the client was not to come
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		want, client := strings.CutPrefix(line, "C: ")
		if !client {
			fmt.Fprintf(c, "%s\r\n", line)
			continue
		}
		if got, err := r.ReadString('\n'); got != want+"\r\n" {
			return fmt.Errorf("the client sent %q, want %q (%v)", got, want, err)
		}
	}
	return nil
}

const smtpStart = "220-first\n220 ready\nC: EHLO me.example\n250-hello\n250-size 10\n250 PIPELINING\n"

// TestSMTPRefusals says what becomes of a message that is refused in each place, and that the next can be sent.
func TestSMTPRefusals(t *testing.T) {
	const next = "C: MAIL FROM:<>\n250 ok\nC: RCPT TO:<a@b.example>\n250 ok\nC: DATA\n354 go\nC: x\nC: .\n250 ok\n"
	for _, test := range []struct {
		name, script string
		pipeline     bool
		to, want     string
	}{
		{"MAIL", "C: MAIL FROM:<>\n451 later\n", false, "a@b.example", "MAIL: 451 later"},
		{"all of RCPT", "C: MAIL FROM:<>\n250\nC: RCPT TO:<a@b.example>\n550-no\n550 5.1.1 no\nC: RSET\n250 ok\n", false, "a@b.example", "RCPT: 550 5.1.1 no"},
		{"one of RCPT", "C: MAIL FROM:<>\n250 ok\nC: RCPT TO:<a@b.example>\n550 no\nC: RCPT TO:<b@b.example>\n250 ok\nC: DATA\n354 go\nC: x\nC: .\n250 ok\n",
			false, "a@b.example b@b.example", "RCPT: 550 no"},
		{"DATA", "C: MAIL FROM:<>\n250 ok\nC: RCPT TO:<a@b.example>\n250 ok\nC: DATA\n451 no\nC: RSET\n250 ok\n", false, "a@b.example", "DATA: 451 no"},
		{"end of data", "C: MAIL FROM:<>\n250 ok\nC: RCPT TO:<a@b.example>\n250 ok\nC: DATA\n354 go\nC: x\nC: .\n452 full\n", false, "a@b.example", "end of data: 452 full"},
		{"pipelined", "C: MAIL FROM:<>\nC: RCPT TO:<a@b.example>\nC: DATA\n250 ok\n550 no\n503 no\nC: RSET\n250 ok\n", true, "a@b.example", "RCPT: 550 no"},
		{"pipelined, and 354 all the same", "C: MAIL FROM:<>\nC: RCPT TO:<a@b.example>\nC: DATA\n250 ok\n550 no\n354 go\nC: .\n554 nobody\n", true, "a@b.example", "RCPT: 550 no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := DialSMTP(t.Context(), scripted(t, smtpStart+test.script+next), "me.example", false)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.Extensions["SIZE"] != "10" {
				t.Errorf("the extensions are %q", s.Extensions)
			}
			err = s.Send(Envelope{To: strings.Fields(test.to), Pipeline: test.pipeline}, bytes.NewBufferString("x\r\n"))
			if reply := (*ReplyError)(nil); !errors.As(err, &reply) || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if err := s.Send(Envelope{To: []string{"a@b.example"}}, bytes.NewBufferString("x\r\n")); err != nil {
				t.Errorf("the next message: %v", err)
			}
		})
	}
}

// TestRFC2033Section4_2 reads a reply for each recipient that was accepted.
func TestRFC2033Section4_2(t *testing.T) {
	s, err := DialSMTP(t.Context(), scripted(t, "220 ready\nC: LHLO me.example\n250 hello\nC: MAIL FROM:<>\n250 ok\nC: RCPT TO:<a@b.example>\n250 ok\n"+
		"C: RCPT TO:<b@b.example>\n250 ok\nC: DATA\n354 go\nC: x\nC: .\n250 ok\n452 full\nC: RSET\n250 ok\n"), "me.example", true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Send(Envelope{To: []string{"a@b.example", "b@b.example"}}, bytes.NewBufferString("x\r\n"))
	if err == nil || err.Error() != "end of data: 452 full" {
		t.Errorf("got %v", err)
	}
	if err := s.Reset(); err != nil {
		t.Error(err)
	}
}

// TestBrokenSMTP meets servers that break the protocol: each is an error, and none costs memory.
func TestBrokenSMTP(t *testing.T) {
	for name, script := range map[string]string{
		"no code": "hello", "short": "22", "code out of range": "099 hello", "another separator": "220_hello", "refused": "554 go away",
		"endless line": "220 " + strings.Repeat("x", 1<<20), "endless reply": strings.Repeat("220-x\n", 10_000), "nothing": "",
		"intermediate code": "354 go", "no STARTTLS": "220 ready\nC: EHLO me.example\n250 hello",
	} {
		t.Run(name, func(t *testing.T) {
			o := scripted(t, script)
			o.Security = StartTLS
			if _, err := DialSMTP(t.Context(), o, "me.example", false); err == nil {
				t.Error("no error")
			}
		})
	}
	t.Run("text behind 220 of STARTTLS", func(t *testing.T) {
		o := scripted(t, "220 ready\nC: EHLO me.example\n250-hello\n250 STARTTLS\nC: STARTTLS\n220 go\r\n250 injected")
		o.Security = StartTLS
		// Where it comes in a read of its own, it is no handshake.
		if _, err := DialSMTP(t.Context(), o, "me.example", false); err == nil {
			t.Error("no error")
		}
	})
}

// TestPOP3Answers reads what servers answer, right and wrong.
func TestPOP3Answers(t *testing.T) {
	p, err := DialPOP3(t.Context(), scripted(t, "+OK\nC: CAPA\n+OK\nSASL PLAIN\n..dots\n.\nC: USER me\n+OK\nC: PASS two words\n-ERR [AUTH] no\n"+
		"C: STAT\n+OK 2 300 more\nC: LIST\n+OK\n1 100\n2 200 more\n.\nC: UIDL\n+OK\n1 a\n2 b\n.\nC: RETR 1\nC: RETR 2\n+OK\n..\n\n.\n-ERR gone\n"+
		"C: STAT\n+OK two\nC: LIST\n+OK\n1 100\n3 200\n.\nC: UIDL\n+OK\n1 "+strings.Repeat("x", 71)+"\n.\nC: STAT\nwhat?\nC: QUIT\n-ERR [SYS/TEMP] not deleted\n"))
	if err != nil {
		t.Fatal(err)
	}
	if offered, err := p.Capabilities(); err != nil || offered["SASL"] != "PLAIN" || len(offered) != 2 {
		t.Errorf("CAPA: %q, %v", offered, err)
	}
	status := (*StatusError)(nil)
	if err := p.Login("me", "two words"); !errors.As(err, &status) || status.Code() != "[AUTH]" {
		t.Errorf("PASS: %v", err)
	}
	if n, octets, err := p.Stat(); n != 2 || octets != 300 || err != nil {
		t.Errorf("STAT: %d, %d, %v", n, octets, err)
	}
	if sizes, err := p.Sizes(); fmt.Sprint(sizes) != "[100 200]" || err != nil {
		t.Errorf("LIST: %v, %v", sizes, err)
	}
	if ids, err := p.UIDLs(); fmt.Sprint(ids) != "[a b]" || err != nil {
		t.Errorf("UIDL: %v, %v", ids, err)
	}
	var content bytes.Buffer
	if err := p.Queue("RETR 1", "RETR 2"); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Content(&content); n != 5 || content.String() != ".\r\n\r\n" || err != nil {
		t.Errorf("RETR: %q, %d, %v", content.String(), n, err)
	}
	if _, err := p.Content(&content); !errors.As(err, &status) || status.Code() != "" {
		t.Errorf("RETR of what is gone: %v", err)
	}
	for _, ask := range []func() error{
		func() error { _, _, err := p.Stat(); return err },
		func() error { _, err := p.Sizes(); return err },
		func() error { _, err := p.UIDLs(); return err },
		func() error { return p.Do("STAT") },
	} {
		if err := ask(); !errors.Is(err, ErrProtocol) {
			t.Errorf("an answer that is none: %v", err)
		}
	}
	if err := p.Do("NOOP\r\nQUIT"); err == nil {
		t.Error("a command with a line end was sent")
	}
	if err := p.Quit(); !errors.As(err, &status) || status.Code() != "[SYS/TEMP]" {
		t.Errorf("QUIT: %v", err)
	}
}

// TestSilence gives up a server that says nothing.
func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = DialPOP3(t.Context(), Options{Target: l.Addr().String(), Timeout: 10 * time.Millisecond})
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v", err)
	}
}
