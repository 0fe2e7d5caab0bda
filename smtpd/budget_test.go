package smtpd

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestTarpit holds up a session that does much wrong, alone, and not for long once the server stops.
func TestTarpit(t *testing.T) {
	for name, hello := range bothWays() {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Policy{MaxErrors: 4, Tarpit: time.Hour}, Listener{Name: "test"})
			c, other := hello(b), hello(b)
			c.do("HELP", "502 ")
			c.do("HELP", "502 ")
			c.send("NOOP\r\n")
			c.waits()
			other.do("NOOP", "250 ")
			if name == "tls" { // a TLS connection of a client is done after a timeout
				c = &client{t: t, conn: other.conn, r: other.r}
			}
			if err := b.server.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if name == "clear" {
				c.want("250 ")
			}
			c.want("421 4.3.2 ")
			c.want("(closed)")
		})
	}
}

// TestTarpitSparesMessages: what became of a message is said at once, or its sender might send it again.
func TestTarpitSparesMessages(t *testing.T) {
	b := newBench(t, Policy{MaxErrors: 4, Tarpit: time.Hour}, Listener{Name: "test"})
	c := b.hello()
	c.envelope()
	c.do("HELP", "502 ")
	c.do("HELP", "502 ")
	c.send("BDAT 6 LAST\r\na: b\r\n")
	c.want("250 2.0.0 queued as ")
	c.send("NOOP\r\n")
	c.waits()
	if err := b.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSurplusRecipients: a sender that splits no message comes to its DATA behind all the recipients that are too many (RFC 5321
// section 4.5.3.1.10); without a message that is taken it does not go on for ever.
func TestSurplusRecipients(t *testing.T) {
	b := newBench(t, Policy{MaxRecipients: 2, MaxCommands: 20}, Listener{Name: "test"})
	c := b.hello()
	begin := func(surplus int) {
		t.Helper()
		c.do("MAIL FROM:<eve@b.test>", "250 ")
		c.do("RCPT TO:<ann@a.test>", "250 ")
		c.do("RCPT TO:<ann@a.test>", "250 ")
		c.send(strings.Repeat("RCPT TO:<ann@a.test>\r\n", surplus))
	}
	for range 2 { // a message that was taken makes good for all of it
		begin(100)
		for range 100 {
			c.want("452 4.5.3 ")
		}
		c.do("DATA", "354 ")
		c.send("a: b\r\n.\r\n")
		c.want("250 2.0.0 queued as ")
	}
	begin(300)
	for range 170 { // and 3 commands: 20 in all
		c.want("452 4.5.3 ")
	}
	c.want("421 4.7.0 ")
	c.want("(closed)")
	b.ended(endErrors)
}

// TestBudgetsOfLMTP are none: the client is the operator's own, and keeps its connection.
func TestBudgetsOfLMTP(t *testing.T) {
	b := newBench(t, Policy{MaxErrors: 1, MaxUnknown: 1, MaxCommands: 1, Tarpit: time.Hour}, Listener{Name: "test", LMTP: true})
	c := b.dial()
	c.want("220 ")
	c.do("LHLO x", "250 ")
	c.do("MAIL FROM:<eve@b.test>", "250 ")
	for range 3 {
		c.do("RCPT TO:<nobody@a.test>", "550 ")
		c.do("HELP", "502 ")
	}
}

// TestClientThatStopsReading under TLS and in clear: replies pile up until the connection takes none.
func TestClientThatStopsReading(t *testing.T) {
	for name, hello := range bothWays() {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Policy{WriteTimeout: 50 * time.Millisecond, MaxCommands: 1 << 30, MaxWasted: 1 << 40}, Listener{Name: "test"})
			c := hello(b)
			raw, clear := c.conn.(*net.TCPConn)
			if !clear {
				raw = c.conn.(*tls.Conn).NetConn().(*net.TCPConn)
			}
			raw.SetReadBuffer(4 << 10)                           // so that few replies fill it
			many := strings.Repeat("EHLO client.test\r\n", 1000) // the command with the longest reply
			go func() {
				for {
					if _, err := io.WriteString(c.conn, many); err != nil {
						return
					}
				}
			}()
			b.ended(endSlow)
		})
	}
}

// TestStopBeforeGreeting does not wait for the client's silence to be over.
func TestStopBeforeGreeting(t *testing.T) {
	b := newBench(t, Policy{GreetingDelay: time.Hour}, Listener{Name: "test"})
	c := b.dial()
	<-b.watch.starts
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	c.want("220 ")
	c.want("421 4.3.2 ")
	c.want("(closed)")
	b.ended(endShutdown)
}

// TestGoneBeforeGreeting is a scanner that connects and hangs up.
func TestGoneBeforeGreeting(t *testing.T) {
	b := newBench(t, Policy{GreetingDelay: time.Hour}, Listener{Name: "test"})
	c := b.dial()
	c.conn.(*net.TCPConn).CloseWrite()
	b.ended(endEOF)
	c.want("(closed)")
}
