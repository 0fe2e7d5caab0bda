package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// load is a round of everything that clients do, good and bad.
func (m monitored) load(t *testing.T) {
	t.Helper()
	for _, step := range []func() error{m.send, m.refused, m.handshakes, m.fetch, m.dropped, m.broken} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

func (m monitored) send() error {
	c, err := dialSMTP(m.addr["smtp"])
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range 4 {
		if _, err := c.deliver(crlf([]byte(header+"\r\n"+strings.Repeat("text\r\n", 1<<(2*i)))), alice, bob); err != nil {
			return err
		}
	}
	_, err = c.smtp("221", "QUIT")
	return err
}

// refused is a recipient that there is not, and a message that is too large.
func (m monitored) refused() error {
	c, err := dialSMTP(m.addr["smtp"])
	if err != nil {
		return err
	}
	defer c.Close()
	c.smtp("250", "MAIL FROM:<%s>", sender)
	c.smtp("250", "RCPT TO:<%s>", alice)
	if _, err = c.smtp("550", "RCPT TO:<nobody@%s>", strings.SplitN(alice, "@", 2)[1]); err != nil {
		return err
	}
	c.smtp("354", "DATA")
	_, err = c.Write([]byte("Subject: half\r\n"))
	return err
}

// handshakes are one that succeeds and one that does not.
func (m monitored) handshakes() error {
	for _, config := range []*tls.Config{{InsecureSkipVerify: true}, {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}} {
		c, err := dialSMTP(m.addr["smtp"])
		if err != nil {
			return err
		}
		if _, err := c.smtp("220", "STARTTLS"); err != nil {
			return err
		}
		tls.Client(c.Conn, config).Handshake()
		c.Close()
		if c, err := tls.Dial("tcp", m.addr["pop3s"], config); err == nil {
			c.Close()
		}
	}
	return nil
}

func (m monitored) fetch() error {
	for _, user := range []string{alice} {
		if _, err := tryDrain(m.server, user); err != nil {
			return err
		}
	}
	return nil
}

// dropped is a wrong password, and a session that marks and hangs up.
func (m monitored) dropped() error {
	if c, err := dial(m.addr["pop3"]); err == nil {
		c.ok()
		c.pop("USER %s", alice)
		c.pop("PASS wrong")
		c.Close()
	}
	c, err := dialPOP(m.addr["pop3"], bob)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.pop("DELE 1")
	return err
}

// broken asks for messages, with one larger than the buffers of sockets between, and hangs up.
func (m monitored) broken() error {
	var c *conn
	var err error
	for deadline := time.Now().Add(patience); ; { // the session before may hold the lock for a moment
		if c, err = dialPOP(m.addr["pop3"], bob); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return err
	}
	defer c.Close()
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Conn.(*net.TCPConn).SetReadBuffer(4096)
	_, err = io.WriteString(c, strings.Repeat("RETR 1\r\nRETR 4\r\n", 2000))
	c.r.ReadByte()
	return err
}
