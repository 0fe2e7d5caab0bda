package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
)

// v2 returns a header of version 2 by hand, so that what is wrong with it can be chosen.
func v2(command, family byte, rest string) string {
	head := append([]byte(proxyproto.SIGV2), command, family)
	return string(binary.BigEndian.AppendUint16(head, uint16(len(rest)))) + rest
}

const (
	v4Addresses = "\xc0\x00\x02\x01\x7f\x00\x00\x01\x80\x00\x00\x19"
	v6Addresses = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x80\x00\x00\x19"
)

// headers are headers that are taken, with the peer that each names; an empty one is the connection's own.
func headers() map[string]string {
	return map[string]string{
		"PROXY TCP4 192.0.2.1 127.0.0.1 32768 25\r\n":         "192.0.2.1:32768",
		"PROXY TCP6 2001:db8::1 ::1 65535 25\r\n":             "[2001:db8::1]:65535",
		"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25\r\n":            "192.0.2.1:1",
		"PROXY UNKNOWN\r\n":                                   "",
		"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n":       "",
		v2(0x21, 0x11, v4Addresses):                           "192.0.2.1:32768",
		v2(0x21, 0x21, v6Addresses):                           "[2001:db8::1]:32768",
		v2(0x21, 0x11, v4Addresses+"\x04\x00\x03abc"):         "192.0.2.1:32768",
		v2(0x21, 0x11, v4Addresses+strings.Repeat("x", 4000)): "192.0.2.1:32768",
		v2(0x20, 0x00, ""):                                    "",
		v2(0x20, 0x11, v4Addresses):                           "",
		v2(0x21, 0x00, ""):                                    "", // HAProxy, where it has no address
		v2(0x21, 0x00, "\x04\x00\x03abc"):                     "",
	}
}

// refused are beginnings that no proxy sends.
func refused() []string {
	return []string{
		"EHLO client.example\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01", "P\r\n", "PROXY\r\n", "PROXYTCP4 ",
		"PROXY TCP4 192.0.2.1 127.0.0.1 32768\r\n", "PROXY TCP4 192.0.2.1 127.0.0.1 32768 65536\r\n",
		"PROXY TCP4 2001:db8::1 ::1 1 25\r\n", "PROXY TCP6 192.0.2.1 127.0.0.1 1 25\r\n", "PROXY UDP4 192.0.2.1 127.0.0.1 1 25\r\n",
		"PROXY TCP4 192.0.2.1 127.0.0.1 32768 25\n", "PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n",
		"PROXY TCP4 192.0.2.256 127.0.0.1 1 25\r\n", "proxy tcp4 192.0.2.1 127.0.0.1 1 25\r\n",
		v2(0x21, 0x11, v4Addresses[:11]), v2(0x21, 0x12, v4Addresses), v2(0x21, 0x31, strings.Repeat("/", 216)),
		v2(0x31, 0x11, v4Addresses), v2(0x22, 0x11, v4Addresses), v2(0x21, 0x13, v4Addresses),
		v2(0x21, 0x11, v4Addresses+strings.Repeat("x", 4085)), v2(0x20, 0x00, strings.Repeat("x", 4097)),
		string(proxyproto.SIGV2[:11]) + "\r",
	}
}

// own is the address that connections of these tests have themselves.
var own = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4}

// pipe is a connection whose other end the test writes to.
func pipe() (c net.Conn, client net.Conn) {
	c, client = net.Pipe()
	return addressed{c}, client
}

type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return own }

// SetReadDeadline fails like that of a socket: not because the other end was closed.
func (a addressed) SetReadDeadline(t time.Time) error {
	if err := a.Conn.SetReadDeadline(t); !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}

// send writes text in pieces of n octets and hangs up.
func send(client net.Conn, text string, n int) {
	defer client.Close()
	for len(text) > 0 {
		k := min(n, len(text))
		if _, err := io.WriteString(client, text[:k]); err != nil {
			return
		}
		text = text[k:]
	}
}

// Headers are read however the network cuts them, and not an octet behind them is lost.
func TestProxyHeaders(t *testing.T) {
	terms := NewProxy(nil, time.Minute).terms.Load()
	for header, want := range headers() {
		for _, pieces := range []int{1, 7, 1 << 20} {
			c, client := pipe()
			go send(client, header+"EHLO x\r\n", pieces)
			got, proxied, err := terms.accept(c)
			if err != nil {
				t.Errorf("%q in pieces of %d: %v", header, pieces, err)
				continue
			}
			if want == "" {
				if proxied || got.RemoteAddr() != net.Addr(own) {
					t.Errorf("%q: %s, proxied %v", header, got.RemoteAddr(), proxied)
				}
			} else if !proxied || got.RemoteAddr().String() != want {
				t.Errorf("%q: %s, proxied %v", header, got.RemoteAddr(), proxied)
			}
			rest, err := io.ReadAll(got)
			if err != nil || string(rest) != "EHLO x\r\n" {
				t.Errorf("%q in pieces of %d: then %q, %v", header, pieces, rest, err)
			}
		}
	}
}

func TestProxyHeadersRefused(t *testing.T) {
	terms := NewProxy(nil, time.Minute).terms.Load()
	for _, text := range refused() {
		for _, pieces := range []int{1, 1 << 20} {
			c, client := pipe()
			go send(client, text, pieces)
			if got, proxied, err := terms.accept(c); err == nil {
				t.Errorf("%.80q is taken: %s, %v", text, got.RemoteAddr(), proxied)
			}
			c.Close()
		}
	}
	c, client := pipe()
	client.Close()
	if _, _, err := terms.accept(c); !errors.Is(err, errNoHeader) {
		t.Errorf("a connection that ends at once: %v", err)
	}
}

// A header that is not complete in time is not waited for, however often an octet of it comes.
func TestProxyTimeout(t *testing.T) {
	for _, text := range []string{"", "P", "PROXY TCP4 192.0.2.1 127.0.0.1 32768 25", v2(0x21, 0x11, v4Addresses)[:20]} {
		synctest.Test(t, func(t *testing.T) {
			c, client := pipe()
			defer client.Close()
			go func() {
				for _, b := range []byte(text) {
					if _, err := client.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			begin := time.Now()
			_, _, err := NewProxy(nil, 5*time.Second).terms.Load().accept(c)
			c.Close()
			if err == nil || !strings.Contains(err.Error(), "within 5s") || time.Since(begin) != 5*time.Second {
				t.Errorf("%q: %v after %s", text, err, time.Since(begin))
			}
			time.Sleep(time.Minute) // the client has noticed
		})
	}
}

// A real connection behind its header can still be closed for writing alone: the last reply must not be lost.
func TestProxiedCloseWrite(t *testing.T) {
	h := newHeld()
	defer close(h.release)
	client := dial(t, serveProxy(t, h, nil, NewProxy(networks("127.0.0.1/32"), time.Minute)))
	io.WriteString(client, "PROXY TCP4 192.0.2.1 127.0.0.1 1 25\r\n")
	c := <-h.handling
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(client); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

// watching is a held Handler that is told of refusals.
type watching struct {
	*held
	why chan error
}

func (w watching) ProxyRefused(_ net.Addr, why error) { w.why <- why }

// Who is in no trusted network is closed unheard; a header that never comes holds up nobody else.
func TestServeProxy(t *testing.T) {
	w := watching{newHeld(), make(chan error, 10)}
	defer close(w.release)
	proxy := NewProxy(networks("192.0.2.0/24"), time.Minute)
	lim := NewLimits(Bounds{PerAddress: 1, Exempt: networks("127.0.0.0/8")})
	address := serveProxy(t, w, lim, proxy)
	stranger := dial(t, address)
	io.WriteString(stranger, "PROXY TCP4 192.0.2.1 127.0.0.1 1 25\r\n")
	if err := <-w.why; !errors.Is(err, errUntrusted) {
		t.Errorf("a stranger: %v", err)
	}
	if n, _ := stranger.Read(make([]byte, 1)); n != 0 {
		t.Error("a stranger is greeted")
	}
	proxy.Set(networks("127.0.0.1/32"), time.Minute)
	dial(t, address) // says nothing
	for _, header := range []string{"PROXY TCP4 198.51.100.1 127.0.0.1 1 25\r\n", "PROXY TCP6 2001:db8::1 ::1 1 25\r\n", "PROXY UNKNOWN\r\n", "PROXY UNKNOWN\r\n"} {
		io.WriteString(dial(t, address), header)
		<-w.handling
	}
	for _, header := range []string{"PROXY TCP4 198.51.100.1 127.0.0.1 2 25\r\n", "PROXY TCP6 2001:db8::2 ::1 1 25\r\n"} {
		again := dial(t, address)
		io.WriteString(again, header)
		<-w.refused
		if line, err := bufio.NewReader(again).ReadString('\n'); err != nil || line != "busy\r\n" {
			t.Errorf("%q: %q, %v", header, line, err)
		}
	}
	io.WriteString(dial(t, address), "EHLO direct\r\n")
	if err := <-w.why; err == nil || !strings.Contains(err.Error(), "does not begin with a PROXY header") {
		t.Errorf("a direct connection from the proxy's network: %v", err)
	}
}

// FuzzProxyHeader: whatever comes, no octet behind a header is lost or counted to it, and the bound of the header holds.
func FuzzProxyHeader(f *testing.F) {
	for header := range headers() {
		f.Add([]byte(header + "EHLO x\r\n"))
	}
	for _, text := range refused() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(text), headerBuffer)
		header, err := readHeader(r)
		if err != nil {
			return
		}
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.HasSuffix(text, rest) || len(text)-len(rest) > headerV2+int(proxyproto.MaxV2HeaderSize) {
			t.Fatalf("%q: %d octets are left, %v", text, len(rest), err)
		}
		if a, ok := header.SourceAddr.(*net.TCPAddr); ok && !a.AddrPort().IsValid() {
			t.Fatalf("%q: the address %s", text, a)
		}
	})
}
