package pop3d

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

// patience bounds what a test waits for; nothing waits as long when all is well.
const patience = 20 * time.Second

// bench is a server on a loopback port, with all that it told.
type bench struct {
	t        testing.TB
	server   *Server
	listener net.Listener
	tls      *tls.Config
	log      *lockedBuffer
	seen     *recorder
	sessions sync.WaitGroup
	// wrap, when set, wraps each connection as a listener may.
	wrap func(net.Conn) net.Conn
}

type option func(*Config, *Policy, *Listener)

// serve starts a server that hands every connection to Handle and is shut down with the test.
func serve(t testing.TB, pickup store.Pickup, options ...option) *bench {
	t.Helper()
	return serveWrapped(t, nil, pickup, options...)
}

// serveWrapped is serve with each connection wrapped.
func serveWrapped(t testing.TB, wrap func(net.Conn) net.Conn, pickup store.Pickup, options ...option) *bench {
	t.Helper()
	b := &bench{t: t, wrap: wrap, tls: testTLS(t), log: &lockedBuffer{}, seen: newRecorder()}
	c := Config{
		Hostname: "mail.example.org", Store: pickup, TLS: b.tls, Version: "1.2",
		Log: zerolog.New(b.log), Observer: b.seen,
	}
	var p Policy
	l := Listener{Name: "test"}
	for _, o := range options {
		o(&c, &p, &l)
	}
	b.server = New(c, p)
	var err error
	if b.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go b.accept(l)
	t.Cleanup(b.stop)
	return b
}

func (b *bench) accept(l Listener) {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		if b.wrap != nil {
			conn = b.wrap(conn)
		}
		b.sessions.Add(1)
		go func() {
			defer b.sessions.Done()
			b.server.Handle(conn, l)
		}()
	}
}

func (b *bench) stop() {
	b.listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // whatever still runs is to end now
	b.server.Shutdown(ctx)
	b.sessions.Wait()
}

// farConn is a connection whose peer seems to be elsewhere, wrapped as a listener's would be.
type farConn struct{ net.Conn }

func comesFromAfar(c net.Conn) net.Conn { return farConn{c} }

func (c farConn) NetConn() net.Conn { return c.Conn }

func (c farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1024} }

// dial returns a client that has not read the greeting.
func (b *bench) dial() *client {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.listener.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t: b.t, conn: conn, r: bufio.NewReader(conn)}
}

// login returns a client in the TRANSACTION state.
func (b *bench) login() *client {
	b.t.Helper()
	c := b.dial()
	c.want("+OK mail.example.org POP3 ready")
	c.ask("USER "+testName, "+OK*")
	c.ask("PASS "+testSecret, "+OK maildrop has *")
	return c
}

// client is a POP3 client that knows no more than lines.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// line returns the next line without its CRLF, which must be there.
func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", line, err)
	}
	if !strings.HasSuffix(line, "\r\n") {
		c.t.Fatalf("%q does not end in CRLF", line)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// want reads a line and compares it: a * at the end of the pattern stands for anything.
func (c *client) want(pattern string) string {
	c.t.Helper()
	line := c.line()
	if prefix, open := strings.CutSuffix(pattern, "*"); line != pattern && !(open && strings.HasPrefix(line, prefix)) {
		c.t.Fatalf("got %q, want %q", line, pattern)
	}
	return line
}

func (c *client) ask(command, pattern string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.want(pattern)
}

// body reads a multi-line reply to its dot, unstuffed by other code than ours. Line ends come out as they went in.
func (c *client) body() string {
	c.t.Helper()
	var lines strings.Builder
	for {
		line := c.line()
		if line == "." {
			return lines.String()
		}
		lines.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
}

// closed waits for the server's end of the connection.
func (c *client) closed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatalf("no proper end: %v", err)
	}
	if len(rest) > 0 {
		c.t.Fatalf("%q came before the end", rest)
	}
	c.conn.Close() // the server waits for this, for a while
}

// startTLS makes the handshake, of TLS 1.2, in which a test can see what kind of record comes.
func (c *client) startTLS() {
	c.t.Helper()
	conn := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
}

// testTLS makes a certificate.
func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// lockedBuffer gathers the log.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// recorder is an Observer that writes down what it hears.
type recorder struct {
	mu    sync.Mutex
	lines []string
	ends  chan string // the reason of each session's end
}

func newRecorder() *recorder { return &recorder{ends: make(chan string, 1000)} }

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// heard tells how often line was noted.
func (r *recorder) heard(line string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, l := range r.lines {
		if l == line {
			n++
		}
	}
	return n
}

// end waits for the next session's end.
func (r *recorder) end(t testing.TB) string {
	t.Helper()
	select {
	case reason := <-r.ends:
		return reason
	case <-time.After(patience):
		t.Fatal("no session ended")
		return ""
	}
}

func (r *recorder) Connection(listener, result string) { r.note("connection %s %s", listener, result) }
func (r *recorder) SessionStart(listener string)       { r.note("start %s", listener) }
func (r *recorder) SessionEnd(listener, reason string, _ time.Duration, in, out int64) {
	r.note("end %s %s", listener, reason)
	r.note("octets %d %d", in, out)
	r.ends <- reason
}
func (r *recorder) Command(verb string, ok bool, _ time.Duration) { r.note("command %s %t", verb, ok) }
func (r *recorder) Handshake(listener, version, result string) {
	r.note("handshake %s %s %s", listener, version, result)
}
func (r *recorder) Login(mechanism, result string) { r.note("login %s %s", mechanism, result) }
func (r *recorder) Retrieved(octets int64, complete bool) {
	r.note("retrieved %d %t", octets, complete)
}
func (r *recorder) Deleted(messages int) { r.note("deleted %d", messages) }

func (r *recorder) Discarded(messages int) { r.note("discarded %d", messages) }

// dotReader is the other side's reading of a multi-line reply.
func dotReader(r io.Reader) io.Reader { return textproto.NewReader(bufio.NewReader(r)).DotReader() }
