package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"example.org/letterbox/store/storesock"
)

// socketMode lets a mail server in the group of letterbox deliver to a unix socket.
const socketMode = 0o660

// Open listens on a. localhost gives a listener on each loopback address that this machine has, with the same port; every
// other address gives one. The error is one sentence that names the address and says what can be done. The words behind the
// address are the caller's.
func Open(a Address) ([]net.Listener, error) {
	switch a.Network {
	case "unix":
		return one(storesock.ListenUnix(a.Text, socketMode))
	case "fd":
		return one(openInherited(a.Text))
	}
	host, port, err := net.SplitHostPort(a.Text)
	if err != nil {
		return nil, fmt.Errorf("address %q is not HOST:PORT", a)
	}
	if host == "localhost" {
		return openLoopbacks(port)
	}
	return one(openTCP(host, port))
}

func one(l net.Listener, err error) ([]net.Listener, error) {
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// openTCP listens on one address. An IPv4 address means IPv4 alone: 0.0.0.0 is not the whole world of Go's "tcp".
func openTCP(host, port string) (net.Listener, error) {
	network := "tcp"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		network = "tcp4"
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), network, net.JoinHostPort(host, port))
	if err != nil {
		return nil, explain(host, port, err)
	}
	return l, nil
}

// samePortTries is how often openLoopbacks asks for a free port that both loopbacks have.
const samePortTries = 16

// openLoopbacks listens on 127.0.0.1 and ::1. One of the two may be missing in a container.
func openLoopbacks(port string) ([]net.Listener, error) {
	for try := 0; ; try++ {
		list, err := openBoth(port)
		if err == nil || port != "0" || try >= samePortTries || !errors.Is(err, syscall.EADDRINUSE) {
			return list, err
		}
	}
}

// openBoth tries both loopbacks once; with port 0 the second takes the port that the first was given.
func openBoth(port string) ([]net.Listener, error) {
	var list []net.Listener
	var missing error
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := openTCP(host, port)
		switch {
		case err == nil:
			list = append(list, l)
			port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		case noSuchAddress(err):
			missing = err
		default:
			for _, l := range list {
				l.Close()
			}
			return nil, err
		}
	}
	if list == nil {
		return nil, missing
	}
	return list, nil
}

func noSuchAddress(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// openError is a sentence for the operator with the system's error behind it.
type openError struct {
	text  string
	cause error
}

func (e *openError) Error() string { return e.text }

func (e *openError) Unwrap() error { return e.cause }

func explain(host, port string, err error) error {
	place := net.JoinHostPort(host, port)
	var dns *net.DNSError
	text := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		text = fmt.Sprintf("can't listen on %s: another program does; stop it or choose another port", place)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		text = fmt.Sprintf("may not listen on %s: ports below 1024 need root, the capability CAP_NET_BIND_SERVICE, or a socket from systemd (fd:NAME)", place)
	case noSuchAddress(err):
		text = fmt.Sprintf("can't listen on %s: this machine does not have that address", place)
	case errors.As(err, &dns):
		text = fmt.Sprintf("can't listen on %s: there is no host of that name", place)
	default:
		cause := err
		for inner := err; inner != nil; inner = errors.Unwrap(inner) {
			cause = inner
		}
		text = fmt.Sprintf("can't listen on %s: %v", place, cause)
	}
	return &openError{text: text, cause: err}
}
