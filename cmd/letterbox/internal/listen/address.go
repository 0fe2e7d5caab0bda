// Package listen opens the addresses of the configuration and admits connections: it bounds how many there are, in all and
// from one address, without ever holding up the next one.
package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where a listener stands and what its connections begin with.
type Address struct {
	Network string // tcp, unix or fd
	Text    string // HOST:PORT, the path, or the name of the handed-over socket
	// TLS means that the client begins with a handshake (implicit TLS).
	TLS bool
	// Proxy means that each connection begins with a PROXY header.
	Proxy bool
	// TLSInFront means that the proxy speaks TLS to the client, and clear text to us.
	TLSInFront bool
}

// String returns what Parse reads.
func (a Address) String() string {
	s := a.Text
	if a.Network != "tcp" {
		s = a.Network + ":" + s
	}
	for _, w := range a.words() {
		if *w.set {
			s += " " + w.name
		}
	}
	return s
}

// IsLoopback tells whether only this machine can connect. Of a handed-over socket that is not known.
func (a Address) IsLoopback() bool {
	host, _, err := net.SplitHostPort(a.Text)
	if a.Network != "tcp" || err != nil {
		return a.Network == "unix"
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

type word struct {
	name string
	set  *bool
}

func (a *Address) words() []word {
	return []word{{"tls", &a.TLS}, {"proxy", &a.Proxy}, {"tls-in-front", &a.TLSInFront}}
}

// Parse reads `HOST:PORT`, `unix:PATH` or `fd:NAME`, followed by the words tls, proxy and tls-in-front in any order. The
// error is one sentence that names the text.
func Parse(s string) (Address, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return Address{}, errors.New(`an address is empty: write HOST:PORT, unix:PATH, fd:NAME or "off"`)
	}
	a, err := parsePlace(fields[0])
	if err != nil {
		return Address{}, err
	}
	for _, f := range fields[1:] {
		if err := a.take(f); err != nil {
			return Address{}, fmt.Errorf("address %q %w", s, err)
		}
	}
	if a.TLS && a.TLSInFront {
		return Address{}, fmt.Errorf("address %q has both tls and tls-in-front: TLS ends either here or at the proxy", s)
	}
	return a, nil
}

func (a *Address) take(name string) error {
	for _, w := range a.words() {
		if w.name != name {
			continue
		}
		if *w.set {
			return fmt.Errorf("has the word %s twice", name)
		}
		*w.set = true
		return nil
	}
	return fmt.Errorf("has the unknown word %q: there are tls, proxy and tls-in-front", name)
}

func parsePlace(s string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" || path[0] == '@' {
			return Address{}, fmt.Errorf("address %q has no path: write unix:/run/letterbox/lmtp.sock", s)
		}
		return Address{Network: "unix", Text: path}, nil
	}
	if name, ok := strings.CutPrefix(s, "fd:"); ok {
		if name == "" || strings.Contains(name, ":") {
			return Address{}, fmt.Errorf("address %q has no name: write fd:NAME with FileDescriptorName= of the socket unit", s)
		}
		return Address{Network: "fd", Text: name}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, fmt.Errorf("address %q is not HOST:PORT, unix:PATH or fd:NAME (an IPv6 address stands in brackets)", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return Address{}, fmt.Errorf("address %q has the port %q: write a number from 0 to 65535", s, port)
	}
	if host == "*" {
		return Address{}, fmt.Errorf("address %q has a * as host: write :%s for all addresses of this machine", s, port)
	}
	return Address{Network: "tcp", Text: s}, nil
}
