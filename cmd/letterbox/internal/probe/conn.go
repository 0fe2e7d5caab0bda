package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Security says when a connection begins to speak TLS.
type Security int

// The ways that a mail client knows.
const (
	Clear    Security = iota // never
	StartTLS                 // after STARTTLS (RFC 3207) or STLS (RFC 2595)
	Implicit                 // from the first octet on (RFC 8314)
)

// Options say how a client reaches a server.
type Options struct {
	Target   string // HOST:PORT or unix:PATH
	Security Security
	// TLS is used as it is given; its ServerName is the target's host where it has none. Nil stands for an empty one.
	TLS *tls.Config
	// Dial connects; nil for a plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout bounds connecting, and each wait for an octet to be read or written.
	Timeout time.Duration
	// Buffer is how many octets a connection reads and writes at once: half of the memory that it costs. 0 stands for 4
	// KiB, the least.
	Buffer int
}

const (
	// maxLine bounds a line of a reply, in octets. RFC 5321 section 4.5.3.1.5 and RFC 2449 section 4 allow 512.
	maxLine = 4 << 10
	// maxReply bounds the lines of one reply of SMTP.
	maxReply = 200
)

var (
	// ErrLongLine means that a line of a reply went on beyond 4 KiB.
	ErrLongLine = errors.New("the server sent a line of more than 4 KiB")
	// ErrProtocol is wrapped by the errors of a server that breaks the protocol.
	ErrProtocol = errors.New("the server broke the protocol")
	// ErrTLS is wrapped by the errors of a TLS that did not come about.
	ErrTLS = errors.New("TLS")
)

// broken is an error of the protocol: what came where something else was due.
func broken(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrProtocol}, args...)...)
}

// conn is a connection of either protocol: lines out, lines and dot-stuffed content in.
type conn struct {
	o    Options
	net  net.Conn // TLS, where it is spoken
	r    *bufio.Reader
	w    *bufio.Writer
	stop func() bool // of the context's watch
}

// open connects, and speaks TLS at once where o says so. The end of ctx closes the connection, at any later time too.
func open(ctx context.Context, o Options) (*conn, error) {
	network, address := "tcp", o.Target
	if path, ok := strings.CutPrefix(o.Target, "unix:"); ok {
		network, address = "unix", path
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: -1}).DialContext // each wait is bounded by the timeout
	}
	connecting, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	raw, err := dial(connecting, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{o: o, stop: context.AfterFunc(ctx, func() { raw.Close() })}
	c.use(&watched{Conn: raw, timeout: o.Timeout})
	if o.Security == Implicit {
		if err := c.handshake(); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// use makes nc the connection. Nothing read before stays in a buffer.
func (c *conn) use(nc net.Conn) {
	c.net = nc
	c.r = bufio.NewReaderSize(nc, max(c.o.Buffer, maxLine))
	c.w = bufio.NewWriterSize(nc, max(c.o.Buffer, maxLine))
}

// handshake speaks TLS from here on.
func (c *conn) handshake() error {
	if c.r.Buffered() > 0 {
		return fmt.Errorf("%w: %w", ErrTLS, broken("there is text in clear behind the reply that starts TLS"))
	}
	config := &tls.Config{}
	if c.o.TLS != nil {
		config = c.o.TLS.Clone()
	}
	if host, _, err := net.SplitHostPort(c.o.Target); err == nil && config.ServerName == "" {
		config.ServerName = host
	}
	secure := tls.Client(c.net, config)
	if err := secure.Handshake(); err != nil {
		return fmt.Errorf("%w: %w", ErrTLS, err)
	}
	c.use(secure)
	return nil
}

// close ends the connection at once.
func (c *conn) close() error {
	c.stop()
	return c.net.Close()
}

// send writes lines, each with its CRLF, in as few writes as they fit into.
func (c *conn) send(lines ...string) error {
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n") {
			return fmt.Errorf("a command can't hold a line end: %.80q", line)
		}
		c.w.WriteString(line)
		c.w.WriteString("\r\n")
	}
	return c.w.Flush()
}

// line returns the next line without its CRLF. It is valid until the next read.
func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull), err == nil && len(line) > maxLine:
		return nil, ErrLongLine
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

// watched bounds each read and write in time: by timeout, or up to an eighth less. A deadline is set anew only after that
// eighth, since a client in lockstep would spend much of its time on timers.
type watched struct {
	net.Conn
	timeout     time.Duration
	read, write time.Time // when the deadlines were set
}

func (w *watched) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(w.read) > w.timeout/8 {
		if err := w.SetReadDeadline(now.Add(w.timeout)); err != nil {
			return 0, err
		}
		w.read = now
	}
	return w.Conn.Read(b)
}

func (w *watched) Write(b []byte) (int, error) {
	if now := time.Now(); now.Sub(w.write) > w.timeout/8 {
		if err := w.SetWriteDeadline(now.Add(w.timeout)); err != nil {
			return 0, err
		}
		w.write = now
	}
	return w.Conn.Write(b)
}
