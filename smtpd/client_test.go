package smtpd

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// testPatience bounds every wait for something that must happen. It is long, since a test machine may be busy.
const testPatience = time.Minute

// client is one connection of a test.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	last []string // the lines of the last reply
}

func (b *bench) dial() *client {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(testPatience))
	b.t.Cleanup(func() { conn.Close() })
	return &client{t: b.t, conn: conn, r: bufio.NewReader(conn)}
}

// hello dials and says EHLO.
func (b *bench) hello() *client {
	b.t.Helper()
	c := b.dial()
	c.want("220 ")
	c.do("EHLO client.test", "250 ")
	return c
}

// helloTLS does the same, with STARTTLS.
func (b *bench) helloTLS() *client {
	b.t.Helper()
	c := b.hello()
	c.do("STARTTLS", "220 ")
	c.secure(b.tls)
	c.do("EHLO client.test", "250 ")
	return c
}

func (c *client) secure(config *tls.Config) {
	c.t.Helper()
	t := tls.Client(c.conn, config)
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = t, bufio.NewReader(t)
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("sending %.60q: %v", s, err)
	}
}

// reply reads one whole reply and returns its last line, or the error as text in brackets.
func (c *client) reply() string {
	c.last = nil
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) && line == "" {
				return "(closed)"
			}
			return fmt.Sprintf("(%v after %q)", err, line)
		}
		line = strings.TrimRight(line, "\r\n")
		c.last = append(c.last, line)
		if len(line) < 4 || line[3] != '-' {
			return line
		}
	}
}

func (c *client) want(prefix string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("got %q, want %q", got, prefix)
	}
	return got
}

func (c *client) do(line, prefix string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.want(prefix)
}

// waits wants that no reply comes, and looks for a short while: on a slow machine it may miss one, and never fails in vain.
func (c *client) waits() {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.conn.Read(make([]byte, 1)); n > 0 || err == nil {
		c.t.Error("the reply does not wait")
	}
	c.conn.SetReadDeadline(time.Now().Add(testPatience))
}

// envelope begins a message to ann.
func (c *client) envelope() {
	c.t.Helper()
	c.do("MAIL FROM:<eve@b.test>", "250 ")
	c.do("RCPT TO:<ann@a.test>", "250 ")
}

func testTLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx.a.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, ServerName: "mx.a.test"}
}
