package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"
)

// Proxy reads the PROXY header (the protocol's versions 1 and 2) that a connection to an address with the word proxy begins
// with. It may be shared by any number of listeners.
type Proxy struct {
	terms atomic.Pointer[terms]
}

type terms struct {
	trusted []netip.Prefix
	timeout time.Duration
}

// NewProxy returns a Proxy as Set sets it.
func NewProxy(trusted []netip.Prefix, timeout time.Duration) *Proxy {
	p := &Proxy{}
	p.Set(trusted, timeout)
	return p
}

// Set replaces who may send a header, and how long it may take. Connections from elsewhere are closed unread: whoever
// reaches the port could else give himself any address. On a unix socket the file's mode says who may.
func (p *Proxy) Set(trusted []netip.Prefix, timeout time.Duration) {
	p.terms.Store(&terms{trusted, timeout})
}

// The bounds of a header, in octets. The buffer holds every header of version 1, and those of version 2 but for their TLVs,
// which the library reads into at most 4 KiB and nobody looks at.
const (
	headerBuffer = 256
	headerV1     = 107
	headerV2     = 16 // what stands before the addresses
)

var (
	errUntrusted = errors.New("it comes from no network in [proxy] trusted")
	errNoHeader  = errors.New("it ended before a PROXY header")
	errNotIP     = errors.New("its PROXY header names no TCP address")
)

// trusts tells whether the peer of a connection may send a header.
func (t *terms) trusts(peer net.Addr) bool {
	switch a := peer.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return within(t.trusted, a.AddrPort().Addr())
	}
	return false
}

// accept reads the header and returns the connection as the handler sees it: its peer is the one that the header names, and
// itself where that is LOCAL or UNKNOWN. It blocks no longer than the header may take, and closes nothing.
func (t *terms) accept(c net.Conn) (_ net.Conn, proxied bool, err error) {
	if err := c.SetReadDeadline(time.Now().Add(t.timeout)); err != nil {
		return nil, false, err
	}
	r := bufio.NewReaderSize(c, headerBuffer)
	header, err := readHeader(r)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("no PROXY header came within %s", t.timeout)
		}
		return nil, false, err
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return nil, false, err
	}
	behind := &proxiedConn{Conn: c, peer: c.RemoteAddr()}
	if r.Buffered() > 0 {
		behind.rest = r
	}
	if header.Command.IsLocal() {
		return behind, false, nil
	}
	source, ok := header.SourceAddr.(*net.TCPAddr)
	if !ok {
		return nil, false, errNotIP
	}
	behind.peer, behind.given = source, true
	return behind, true, nil
}

// readHeader reads a header of either version and no octet behind it that the buffer does not keep.
func readHeader(r *bufio.Reader) (*proxyproto.Header, error) {
	first, err := r.Peek(len(proxyproto.SIGV1))
	switch {
	case len(first) == 0 && errors.Is(err, io.EOF):
		return nil, errNoHeader
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case bytes.Equal(first, proxyproto.SIGV1):
		err = awaitLine(r)
	case len(first) > 0 && first[0] == proxyproto.SIGV2[0]:
		err = acceptUnspecified(r)
	}
	if err != nil && !errors.Is(err, io.EOF) { // of a short header the library says what is missing
		return nil, err
	}
	header, err := proxyproto.Read(r)
	if errors.Is(err, proxyproto.ErrNoProxyProtocol) {
		return nil, errors.New("it does not begin with a PROXY header: is the proxy set to send one?")
	}
	return header, err
}

// awaitLine waits for the whole line of version 1: the library wants it in one piece, and the network may cut it.
func awaitLine(r *bufio.Reader) error {
	for n := len(proxyproto.SIGV1); n <= headerV1; n = max(n+1, r.Buffered()) {
		line, err := r.Peek(min(n, headerV1))
		if err != nil || bytes.IndexByte(line, '\n') >= 0 {
			return err
		}
	}
	return nil
}

// acceptUnspecified makes LOCAL of PROXY with the family UNSPEC, in the buffer: HAProxy says so where it has no address to
// give, and version 1 calls it UNKNOWN. The library refuses it.
func acceptUnspecified(r *bufio.Reader) error {
	head, err := r.Peek(headerV2)
	if err != nil {
		return err
	}
	const command, family = 12, 13
	if proxyproto.ProtocolVersionAndCommand(head[command]) == proxyproto.PROXY && proxyproto.AddressFamilyAndProtocol(head[family]).IsUnspec() {
		head[command] = byte(proxyproto.LOCAL)
	}
	if n := binary.BigEndian.Uint16(head[14:]); n > proxyproto.MaxV2HeaderSize {
		return fmt.Errorf("its PROXY header has %d octets; %d are allowed", n, proxyproto.MaxV2HeaderSize)
	}
	return nil
}

// proxiedConn is a connection behind its PROXY header.
type proxiedConn struct {
	net.Conn               // to the proxy
	peer     net.Addr      // who is behind it
	given    bool          // the header said who
	rest     *bufio.Reader // what came in one read with the header, nil once that was read
}

// RemoteAddr returns the address that the header gave.
func (c *proxiedConn) RemoteAddr() net.Addr { return c.peer }

// Proxied tells whether the header gave the address.
func (c *proxiedConn) Proxied() bool { return c.given }

// Read returns what stands behind the header.
func (c *proxiedConn) Read(p []byte) (int, error) {
	if c.rest == nil {
		return c.Conn.Read(p)
	}
	n, err := c.rest.Read(p) // from its buffer alone
	if c.rest.Buffered() == 0 {
		c.rest = nil
	}
	return n, err
}

// CloseWrite ends the sending direction.
func (c *proxiedConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
