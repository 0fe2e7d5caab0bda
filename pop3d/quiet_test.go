package pop3d

import (
	"testing"
)

// TestQuiet: a quiet session is served like any other, and neither the observer nor the log hears of it.
func TestQuiet(t *testing.T) {
	f := newFake("Subject: x\r\n\r\nx\r\n")
	b := serve(t, f, func(_ *Config, _ *Policy, l *Listener) { l.Quiet = true })
	c := b.dial()
	c.want("+OK*")
	c.ask("STLS", "+OK*")
	c.startTLS()
	c.ask("USER "+testName, "+OK*")
	c.ask("PASS wrong", "-ERR*")
	c.ask("USER "+testName, "+OK*")
	c.ask("PASS "+testSecret, "+OK*")
	c.ask("RETR 1", "+OK*")
	c.body()
	c.ask("DELE 1", "+OK*")
	c.ask("QUIT", "+OK*")
	c.closed()
	b.sessions.Wait()
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	if len(b.seen.lines) > 0 || b.log.String() != "" {
		t.Errorf("the observer heard %q, the log has %q", b.seen.lines, b.log.String())
	}
}
