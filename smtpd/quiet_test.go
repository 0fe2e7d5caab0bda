package smtpd

import (
	"strings"
	"testing"
)

// TestQuiet: a quiet session is served like any other, and neither the observer nor the log hears of it, whatever happens; the
// next one at another door of the same server is heard of.
func TestQuiet(t *testing.T) {
	quiet := Listener{Name: "smtp", Quiet: true}
	b := newBench(t, Policy{}, quiet)
	c := b.helloTLS()
	c.do("MAIL FROM:<>", "250 ")
	c.do("RCPT TO:<nobody@elsewhere.test>", "550 ")
	c.do("RCPT TO:<ann@a.test>", "250 ")
	c.do("DATA", "354 ")
	c.do("Subject: x\r\n\r\nx\r\n.", "250 ")
	c.do("QUIT", "221 ")
	if got := c.reply(); got != "(closed)" { // the server has closed
		t.Errorf("%q behind QUIT", got)
	}
	if len(b.store.all()) != 1 {
		t.Fatal("the message was not taken")
	}
	b.serve(Listener{Name: "smtp"})
	loud := b.hello()
	loud.do("QUIT", "221 ")
	b.ended(endQuit)
	for _, heard := range []string{"end quit", "command QUIT 221", "command EHLO 250"} {
		if !b.watch.has(heard) {
			t.Errorf("the observer did not hear %q of the session that is not quiet", heard)
		}
	}
	b.watch.mu.Lock()
	seen := len(b.watch.seen)
	b.watch.mu.Unlock()
	if seen != 4 { // connection, EHLO, QUIT and the end of the one
		t.Errorf("the observer heard of a quiet session: %q", b.watch.seen)
	}
	if log := b.log.String(); strings.Count(log, "\n") != 1 {
		t.Errorf("the log has more than the one line:\n%s", log)
	}
}
