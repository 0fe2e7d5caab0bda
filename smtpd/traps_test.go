package smtpd

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const secondMail = "MAIL FROM:<mallory@b.test>\r\nRCPT TO:<bob@a.test>\r\nDATA\r\nsecond: mail\r\n\r\nx\r\n.\r\nQUIT\r\n"

// TestEndOfDataVariants sends bodies that some server takes for ended, with a second mail behind them (SMTP smuggling). There
// may be one message or none, and it is always the first, whether we read the body or go-smtp, as for who does not wait for
// the 354.
func TestEndOfDataVariants(t *testing.T) {
	for _, end := range []string{
		"\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r.\n", "\r\r\n.\r\n", "\r\r\n.\r\r\n",
		"\r\n.\r\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\n", "\r\n..\r\n", "\n.\n.\n", "\r\n.\r\n\r\n", " .\r\n", "\x85.\x85",
	} {
		for i, behind := range []string{"", "\r\n.\r\n", "", "\r\n.\r\n"} {
			waits := i < 2
			t.Run(fmt.Sprintf("%q%q%v", end, behind, waits), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, Policy{LostEndTimeout: 50 * time.Millisecond}, Listener{Name: "test"})
				c := b.hello()
				c.envelope()
				body := "a: b\r\n\r\nfirst" + end
				if waits {
					c.do("DATA", "354 ")
					c.send(body)
				} else {
					c.send("DATA\r\n" + body)
				}
				if end != "\r\n.\r\n" && end != "\r\n.\r\n\r\n" {
					c.send(secondMail + behind)
				}
				c.conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c.r)
				<-b.watch.ends
				all := b.store.all()
				if len(all) > 1 || len(all) == 1 && all[0].from != "eve@b.test" {
					t.Errorf("there are %d messages, the last from %s", len(all), all[len(all)-1].from)
				}
			})
		}
	}
}

// TestLostEnd is a sender whose end of data is CR CR LF . CR LF: it waits, and hears of it soon.
func TestLostEnd(t *testing.T) {
	for name, hello := range bothWays() {
		for _, end := range []string{lostEnd, lostEnd2} {
			t.Run(fmt.Sprintf("%s/%q", name, end), func(t *testing.T) {
				b := newBench(t, Policy{LostEndTimeout: 50 * time.Millisecond}, Listener{Name: "test"})
				c := hello(b)
				c.envelope()
				c.do("DATA", "354 ")
				c.send("a: b\r\r\n\r\r\nx" + end)
				c.want("550 5.6.0 ")
				c.want("(closed)")
				b.ended(endProtocol)
				if !b.watch.has(fmt.Sprintf("message rejected newlines %d", 11+len(end))) {
					t.Error(b.watch.seen)
				}
			})
		}
	}
}

func bothWays() map[string]func(*bench) *client {
	return map[string]func(*bench) *client{"clear": (*bench).hello, "tls": (*bench).helloTLS}
}

// TestHalfAMessage ends the connection inside a message. go-smtp takes it for the end of a last chunk.
func TestHalfAMessage(t *testing.T) {
	for name, hello := range bothWays() {
		for _, sent := range []string{
			"DATA\r\na: b\r\n\r\nhalf",
			"DATA\r\na: b\r\n\r\nhalf\r\n.",
			"DATA\r\na: b\r\n\r\nhalf\r\n.\r",
			"BDAT 20 LAST\r\na: b\r\n\r\nhalf\r\n",
			"BDAT 20 LAST\r\n",
			"BDAT 20\r\na: b\r\n\r\nhalf\r\n",
			"BDAT 6\r\na: b\r\n",
			"BDAT 6\r\na: b\r\nBDAT 6 LAST\r\nbody",
			"BDAT 6\r\na: b\r\nBDAT 6 LAST",
			"BDAT 6\r\na: b\r\nBDAT 0 LAST",
			"BDAT 6\r\na: b\r\nBDAT 6 LAST\r",
		} {
			t.Run(fmt.Sprintf("%s/%q", name, sent), func(t *testing.T) {
				b := newBench(t, Policy{}, Listener{Name: "test"})
				c := hello(b)
				c.envelope()
				c.send(sent)
				if w, ok := c.conn.(*tls.Conn); ok {
					w.CloseWrite() // a clean end, as far as TLS can tell
				} else {
					c.conn.(*net.TCPConn).CloseWrite()
				}
				io.Copy(io.Discard, c.r)
				<-b.watch.ends
				if all := b.store.all(); len(all) != 0 {
					t.Errorf("half a message was taken: %q", all[0].body)
				}
			})
		}
	}
}

// TestWholeMessageAndGone is Exim: everything in one piece, also in one TLS record, and then the end of the connection. The
// message is whole, so it is taken and answered.
func TestWholeMessageAndGone(t *testing.T) {
	for name, hello := range bothWays() {
		for _, quit := range []string{"QUIT\r\n", ""} {
			t.Run(name+quit, func(t *testing.T) {
				b := newBench(t, Policy{}, Listener{Name: "test"})
				c := hello(b)
				body := "a: b\r\n\r\n" + strings.Repeat("0123456789\r\n", 500)
				c.send(fmt.Sprintf("MAIL FROM:<eve@b.test>\r\nRCPT TO:<ann@a.test>\r\nBDAT %d LAST\r\n%s%s", len(body), body, quit))
				if w, ok := c.conn.(*tls.Conn); ok {
					w.CloseWrite()
				} else {
					c.conn.(*net.TCPConn).CloseWrite()
				}
				c.want("250 ")
				c.want("250 ")
				c.want("250 2.0.0 queued as ")
				<-b.watch.ends
				if all := b.store.all(); len(all) != 1 || all[0].body != body {
					t.Errorf("%d messages", len(all))
				}
			})
		}
	}
}

// TestStalledData stops inside DATA and goes on with commands: they are the rest of the body, and never run.
func TestStalledData(t *testing.T) {
	for name, hello := range bothWays() {
		for _, p := range []Policy{
			{DataTimeout: 50 * time.Millisecond},
			{DataGrace: 50 * time.Millisecond, LeastRate: 200},
			{MaxAge: 3 * time.Second},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p.LingerTimeout = time.Second
				b := newBench(t, p, Listener{Name: "test"})
				c := hello(b)
				c.envelope()
				c.do("DATA", "354 ")
				c.send("a: b\r\n\r\nx")
				c.want("421 4.4.2 ")
				io.WriteString(c.conn, "\r\n.\r\n"+secondMail) // may fail: the server is done
				if got := c.reply(); strings.HasPrefix(got, "2") {
					t.Error(got)
				}
				b.ended(endSlow)
				if all := b.store.all(); len(all) != 0 {
					t.Errorf("%d messages", len(all))
				}
				if !b.watch.hasPrefix("message aborted timeout ") {
					t.Error(b.watch.seen)
				}
			})
		}
	}
}

// TestFailedSTARTTLS answers the 220 with something that is no handshake. go-smtp would go on in clear.
func TestFailedSTARTTLS(t *testing.T) {
	for _, sent := range []string{"MAIL FROM:<eve@b.test>\r\nNOOP\r\n", "\x16\x03\x01\x00\x05hello", "\x15\x03\x01\x00\x02\x02\x28", ""} {
		t.Run(fmt.Sprintf("%q", sent), func(t *testing.T) {
			b := newBench(t, Policy{}, Listener{Name: "test"})
			c := b.hello()
			c.do("STARTTLS", "220 ")
			c.send(sent)
			c.conn.(*net.TCPConn).CloseWrite()
			rest, _ := io.ReadAll(c.r)
			for len(rest) > 5 { // whole TLS records only
				if rest[0] != 21 {
					t.Fatalf("got %q", rest)
				}
				rest = rest[min(len(rest), 5+int(rest[3])<<8+int(rest[4])):]
			}
			b.ended(endHandshake)
			if !b.watch.has("handshake none failed") {
				t.Error(b.watch.seen)
			}
		})
	}
}

// TestInjectedBeforeTLS sends a command together with STARTTLS (CVE-2011-0411): it is gone.
func TestInjectedBeforeTLS(t *testing.T) {
	b := newBench(t, Policy{}, Listener{Name: "test"})
	c := b.hello()
	c.send("STARTTLS\r\nEHLO injected.test\r\nMAIL FROM:<x@b.test>\r\n")
	c.want("220 ")
	c.secure(b.tls)
	c.do("NOOP", "250 2.0.0 I have")
	c.do("MAIL FROM:<eve@b.test>", "502 ")
	c.do("QUIT", "221 ")
	b.ended(endQuit)
	if !b.watch.has("handshake 1.3 ok") || b.watch.has("handshake none failed") {
		t.Error(b.watch.seen)
	}
}

// TestHandshakeStalls is a client that never begins its handshake.
func TestHandshakeStalls(t *testing.T) {
	b := newBench(t, Policy{HandshakeTimeout: 50 * time.Millisecond}, Listener{Name: "test", TLS: true})
	c := b.dial()
	if rest, _ := io.ReadAll(c.r); bytes.Contains(rest, []byte("421")) {
		t.Errorf("got clear text: %q", rest)
	}
	b.ended(endHandshake)
	if !b.watch.has("handshake none failed") {
		t.Error(b.watch.seen)
	}
}

// TestIdle takes its time for a command. An octet now and then does not help.
func TestIdle(t *testing.T) {
	for name, hello := range bothWays() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, Policy{IdleTimeout: 2 * time.Second}, Listener{Name: "test"}) // enough for each step of hello
			c := hello(b)
			c.send("NO")
			c.want("421 4.4.2 idle for too long, closing (session ")
			c.want("(closed)")
			b.ended(endIdle)
		})
	}
}

// TestClientThatNeverReads fills the connection with commands and takes no reply.
func TestClientThatNeverReads(t *testing.T) {
	b := newBench(t, Policy{WriteTimeout: 50 * time.Millisecond}, Listener{Name: "test"})
	mine, theirs := net.Pipe() // has no buffer: the greeting is the first that waits
	defer mine.Close()
	done := make(chan struct{})
	go func() {
		b.server.Handle(theirs, Listener{Name: "pipe"})
		close(done)
	}()
	b.ended(endSlow)
	<-done
}

// TestTooLarge reads a message that is too large to its end, but not for ever.
func TestTooLarge(t *testing.T) {
	for _, l := range []Listener{{Name: "smtp"}, {Name: "lmtp", LMTP: true}} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprint(l.Name, chunked), func(t *testing.T) {
				b := newBench(t, Policy{MaxMessageBytes: 1000, LingerTimeout: testPatience}, l) // so that no reset overtakes the reply
				c := b.dial()
				c.want("220 ")
				c.do(map[bool]string{false: "EHLO x", true: "LHLO x"}[l.LMTP], "250 ")
				c.envelope()
				if chunked {
					c.send("BDAT 4000000000 LAST\r\n")
				} else {
					c.do("DATA", "354 ")
				}
				line := strings.Repeat("x", 98) + "\r\n"
				for range 30 {
					if _, err := io.WriteString(c.conn, line); err != nil {
						break
					}
				}
				c.want("552 5.3.4 ")
				c.want("(closed)")
				c.conn.Close()
				b.ended(endProtocol)
				if all := b.store.all(); len(all) != 0 {
					t.Error("it was taken")
				}
			})
		}
	}
}

// TestLongLines takes body lines of 64 KiB, and refuses longer ones.
func TestLongLines(t *testing.T) {
	b := newBench(t, Policy{}, Listener{Name: "test"})
	c := b.hello()
	c.envelope()
	c.do("DATA", "354 ")
	c.send("a: b\r\n\r\n" + strings.Repeat("x", 64<<10) + "\r\n.\r\n")
	c.want("250 ")
	c.envelope()
	c.do("DATA", "354 ")
	c.send("a: b\r\n\r\n" + strings.Repeat("x", 64<<10+10))
	c.want("550 5.6.0 ")
	c.want("(closed)")
	b.ended(endProtocol)
}

// TestStalledChunk stops inside a chunk. go-smtp would make a permanent 554 of it, with the error's text.
func TestStalledChunk(t *testing.T) {
	for name, hello := range bothWays() {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Policy{DataTimeout: 50 * time.Millisecond}, Listener{Name: "test"})
			c := hello(b)
			c.envelope()
			c.send("BDAT 6\r\na: b\r\nBDAT 100 LAST\r\nNOOP\r\n")
			c.want("250 ")
			c.want("421 4.4.2 too slow, closing (session ")
			c.want("(closed)")
			b.ended(endSlow)
			if !b.watch.hasPrefix("message aborted timeout ") || len(b.store.all()) != 0 {
				t.Error(b.watch.seen)
			}
		})
	}
}

// TestTooLargeChunkOverLMTP tells each recipient, also where the transfer knows long before the last octet (RFC 2033 section
// 4.2).
func TestTooLargeChunkOverLMTP(t *testing.T) {
	b := newBench(t, Policy{MaxMessageBytes: 40_000}, Listener{Name: "test", LMTP: true})
	c := b.dial()
	c.want("220 ")
	c.do("LHLO x", "250 ")
	c.envelope()
	c.do("RCPT TO:<bob@a.test>", "250 ")
	c.send("BDAT 75000 LAST\r\n" + strings.Repeat("x", 75_000) + "NOOP\r\n")
	c.want("552 5.3.4 <ann@a.test> ")
	c.want("552 5.3.4 <bob@a.test> ")
	c.want("250 ")
}
