package smtpd

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// FuzzDots holds the shadow of go-smtp's reader against a plain one, in pieces of any size.
func FuzzDots(f *testing.F) {
	for _, s := range []string{".\r\n", "a\r\n.\r\nb", "\r\r\n.\r\n", ".\r.\r\n", "..\r\n.\r\n", "\r\n.\rx\r\n.\r\n", "x\n.\n"} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(2))
	}
	f.Fuzz(func(t *testing.T, p []byte, piece uint8) {
		var d dots
		n := 0
		for n < len(p) && d.state != dotEnd {
			n += d.scan(p[n:min(len(p), n+int(piece)+1)])
		}
		want, ended := contentEnd(p)
		if n != want || ended != (d.state == dotEnd) {
			t.Errorf("%q: %d octets, want %d, %v", p, n, want, ended)
		}
		if tail := p[max(0, n-lostEndLen):n]; !bytes.HasSuffix(d.tail[:], tail) {
			t.Errorf("tail %q, want %q", d.tail, tail)
		}
	})
}

// contentEnd is the model: go-smtp's states without a shortcut.
func contentEnd(p []byte) (n int, ended bool) {
	state := dotBegin
	for i, b := range p {
		if state = state.next(b); state == dotEnd {
			return i + 1, true
		}
	}
	return len(p), false
}

// FuzzTap feeds both directions in pieces. Nothing may panic, and no more may wait than came.
func FuzzTap(f *testing.F) {
	f.Add([]byte("EHLO x\r\nMAIL FROM:<>\r\nBDAT 5 LAST\r\nhelloQUIT\r\n"), []byte("220 x\r\n250-a\r\n250 b\r\n250 c\r\n250 d\r\n221 e\r\n"), uint8(7))
	f.Add([]byte("DATA\r\na\r\n.\r\nNOOP\r\n"), []byte("220 x\r\n354 go\r\n250 ok\r\n250 ok\r\n"), uint8(3))
	f.Add([]byte("STARTTLS\r\nNOOP\r\n"), []byte("220 x\r\n220 go\r\n250 ok\r\n"), uint8(30))
	f.Add([]byte("\u0131\u0131\r\n\u017ftarttls\r\nma\u0131l\r\n"), []byte("220 x\r\n500 no\r\n"), uint8(99))
	f.Add([]byte("BDAT 99999999999999\r\nBDAT\tx\r\n"), []byte("220 x\r\n501 no\r\n"), uint8(255))
	f.Fuzz(func(t *testing.T, in, out []byte, piece uint8) {
		var tp tap
		size, fed := int(piece)+1, 0
		for len(in)+len(out) > 0 {
			tp.expectLine()
			n0 := min(size, len(in))
			tp.input(in[:n0])
			in = in[n0:]
			tp.replying = true
			n1 := min(size, len(out))
			tp.output(out[:n1])
			out = out[n1:]
			if fed += n0; len(tp.pending) > fed {
				t.Fatal("pending holds what never came")
			}
			if tp.chunk < 0 || tp.wire < 0 {
				t.Fatalf("negative: %+v", tp)
			}
		}
	})
}

// sessionStates are what was said before, for FuzzSession.
func sessionStates() []string {
	const mail, rcpt = "MAIL FROM:<e@b.test>\r\n", "RCPT TO:<ann@a.test>\r\n"
	return []string{
		"", "HELO c\r\n", "EHLO c\r\n", "EHLO c\r\n" + mail, "EHLO c\r\n" + mail + rcpt, "EHLO c\r\n" + mail + rcpt + "DATA\r\n",
		"EHLO c\r\n" + mail + rcpt + "BDAT 6\r\na: b\r\n", "EHLO c\r\n" + mail + rcpt + "BDAT 9 LAST\r\n", "EHLO c\r\nSTARTTLS\r\n",
		"EHLO c\r\n" + mail + rcpt + "DATA\r\na: b\r\n.\r\n", "EHLO c\r\n" + mail + rcpt + rcpt + "RCPT TO:<bob@a.test>\r\n",
	}
}

// FuzzSession plays anything, in each state, to a whole server over a pipe: guard, tap, go-smtp and session. It must not
// panic or hang, every message in the store must be canonical, and go-smtp and the tap must agree on where each message ends:
// a DATA that they see differently is aborted.
func FuzzSession(f *testing.F) {
	for state := range sessionStates() {
		for _, s := range []string{
			"DATA\r\na: b\r\n.\r\nQUIT\r\n", "BDAT 6\r\na: b\r\nBDAT 0 LAST\r\n" + secondMail, "BDAT 6\r\na: b\r\nRSET\r\n" + secondMail,
			"BDAT 6 LASS\r\n" + secondMail, "DATA\r\na\n.\n" + secondMail, "STARTTLS\r\nEHLO x\r\n", "EHLO x\r\nHELO y\r\n" + secondMail,
			"AUTH PLAIN AAAA\r\nVRFY x\r\nfoo\r\nbar\r\nbaz\r\nqux\r\n", "\u0131\u0131\r\n\u017ftarttls\r\nma\u0131l\r\n",
			"BDAT 4294967295\r\nxx", "x\r\n.\r\n" + secondMail, "Received: x\r\nDelivered-To: ann@a.test\r\n\r\n.\r\nQUIT\r\n", "GET / HTTP/1.1\r\n",
			"\x16\x03\x01",
		} {
			f.Add([]byte(s), uint8(state), false)
			f.Add([]byte(s), uint8(state), true)
			f.Add([]byte(s), uint8(state)|0x80, false)
			f.Add([]byte(s), uint8(state)|0x80, true)
		}
	}
	serverTLS, _ := testTLS(f)
	f.Fuzz(func(t *testing.T, in []byte, state uint8, lmtp bool) {
		waits := state >= 0x80 // for the replies to what was said before
		before := sessionStates()[int(state&0x7f)%len(sessionStates())]
		if lmtp {
			before = strings.Replace(before, "EHLO", "LHLO", 1)
		}
		r, w := &recorder{}, newWatcher()
		s := New(Config{Hostname: "mx.a.test", Store: r, TLS: serverTLS, Log: zerolog.Nop(), Observer: w}, Policy{
			MaxMessageBytes: 4096, IdleTimeout: time.Second, LostEndTimeout: time.Millisecond, Tarpit: time.Millisecond,
			GreetingDelay: time.Microsecond,
		})
		mine, theirs := net.Pipe()
		greeted := make(chan struct{})
		go func() {
			<-greeted
			if waits {
				mine.Write([]byte(before)) // is read in one piece
				mine.Write(in)
			} else {
				mine.Write(append([]byte(before), in...))
			}
			// A pipe has no half-close: an idle server is what a quiet client sees.
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			s.Shutdown(ctx)
			mine.Close()
		}()
		go func() {
			mine.Read(make([]byte, 1))
			close(greeted)
			io.Copy(io.Discard, mine)
		}()
		s.Handle(theirs, Listener{Name: "fuzz", LMTP: lmtp})
		if reason := <-w.ends; reason == endPanic {
			t.Fatal("panic")
		}
		for _, m := range r.all() {
			if want, bare := plain(m.body); bare || want != m.body {
				t.Errorf("not canonical: %q", m.body)
			}
			if !strings.HasPrefix(m.whole(0), "Return-Path: <") {
				t.Errorf("no trace: %q", m.whole(0))
			}
		}
	})
}
