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

// FuzzSession plays anything to a whole server over a pipe. It must not panic or hang, every message in the store must
// be canonical, and go-smtp and the tap must agree on where each message ends: a DATA that they see differently is aborted.
func FuzzSession(f *testing.F) {
	hello := "EHLO c\r\nMAIL FROM:<e@b.test>\r\nRCPT TO:<ann@a.test>\r\n"
	f.Add([]byte(hello + "DATA\r\na: b\r\n.\r\nQUIT\r\n"))
	f.Add([]byte(hello + "BDAT 6\r\na: b\r\nBDAT 0 LAST\r\n" + secondMail))
	f.Add([]byte(hello + "BDAT 6\r\na: b\r\nRSET\r\n" + secondMail))
	f.Add([]byte(hello + "BDAT 6 LASS\r\n" + secondMail))
	f.Add([]byte(hello + "DATA\r\na\n.\n" + secondMail))
	f.Add([]byte("HELO x\r\nSTARTTLS\r\n" + hello))
	f.Add([]byte("AUTH PLAIN AAAA\r\nVRFY x\r\nfoo\r\nbar\r\nbaz\r\nqux\r\n"))
	f.Add([]byte("\u0131\u0131\r\n\u017ftarttls\r\nma\u0131l\r\n"))
	f.Add([]byte(hello + "BDAT 4294967295\r\nxx"))
	serverTLS, _ := testTLS(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		r, w := &recorder{}, newWatcher()
		s := New(Config{Hostname: "mx.a.test", Store: r, TLS: serverTLS, Log: zerolog.Nop(), Observer: w}, Policy{
			MaxMessageBytes: 4096, IdleTimeout: time.Second, LostEndTimeout: time.Millisecond,
		})
		mine, theirs := net.Pipe()
		go func() {
			mine.Write(in)
			// A pipe has no half-close: an idle server is what a quiet client sees.
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			s.Shutdown(ctx)
			mine.Close()
		}()
		go io.Copy(io.Discard, mine)
		s.Handle(theirs, Listener{Name: "fuzz"})
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
