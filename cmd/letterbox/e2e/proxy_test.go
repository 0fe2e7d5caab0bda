package e2e

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trustedProxy is the configuration that believes PROXY headers from this machine, and lets an address open one connection.
const trustedProxy = "[proxy]\ntrusted = [\"127.0.0.1\", \"::1\"]\n[limits]\nmax_connections_per_address = 1\n"

// serveProxied starts letterbox with one listener for SMTP and one for POP3 that want PROXY headers, and one for POP3 that
// does not.
func serveProxied(t *testing.T, config string) *server {
	t.Helper()
	cert, key := certificate(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "letterbox.toml"), []byte(config))
	s := launch(t, shape(t), filepath.Join(dir, "data"), "--config", filepath.Join(dir, "letterbox.toml"),
		"--smtp", "127.0.0.1:0 proxy", "--lmtp", "127.0.0.1:0 proxy tls-in-front", "--pop3", "127.0.0.1:0", "--pop3s", "127.0.0.1:0 tls proxy",
		"--metrics", "off", "--hostname", "localhost", "--tls-cert", cert, "--tls-key", key, "--account", alice+":"+password)
	s.cert = cert
	s.ready("smtp", "lmtp", "pop3", "pop3s")
	return s
}

// headerV1 and headerV2 are PROXY headers for a client at from.
func headerV1(from netip.AddrPort) string {
	family, to := "TCP4", "127.0.0.1"
	if from.Addr().Is6() {
		family, to = "TCP6", "::1"
	}
	return fmt.Sprintf("PROXY %s %s %s %d 25\r\n", family, from.Addr(), to, from.Port())
}

func headerV2(from netip.AddrPort) string {
	family, to := byte(0x11), netip.MustParseAddr("127.0.0.1")
	if from.Addr().Is6() {
		family, to = 0x21, netip.IPv6Loopback()
	}
	addresses := append(from.Addr().AsSlice(), to.AsSlice()...)
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21"), family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addresses)+4))
	b = binary.BigEndian.AppendUint16(append(b, addresses...), from.Port())
	return string(binary.BigEndian.AppendUint16(b, 25))
}

// behind connects as a proxy would, with a header in one piece or several, and wants a greeting that begins with want.
func behind(t *testing.T, address, want string, header ...string) *conn {
	t.Helper()
	c, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for _, piece := range header {
		if _, err := io.WriteString(c, piece); err != nil {
			t.Fatal(err)
		}
	}
	if line, err := c.line(); err != nil || !strings.HasPrefix(line, want) {
		t.Fatalf("behind %q: %q, %v, want %s", header, line, err, want)
	}
	return c
}

// TestProxy shows that the address in a PROXY header is the one that counts for Received, the log and the limits.
func TestProxy(t *testing.T) {
	s := serveProxied(t, trustedProxy)
	for i, header := range []func(netip.AddrPort) string{headerV1, headerV2} {
		for _, literal := range []string{fmt.Sprintf("198.51.100.%d", i+1), fmt.Sprintf("IPv6:2001:db8:%d::1", i+1)} {
			bare := strings.TrimPrefix(literal, "IPv6:")
			from := netip.AddrPortFrom(netip.MustParseAddr(bare), 4711)
			c := behind(t, s.addr["smtp"], "220 ", header(from))
			if _, err := c.smtp("250", "EHLO client.example"); err != nil {
				t.Fatal(err)
			}
			behind(t, s.addr["smtp"], "421 ", header(from)) // one at a time
			if _, err := c.deliver([]byte(helloMail), alice); err != nil {
				t.Fatal(err)
			}
			if _, err := c.smtp("221", "QUIT"); err != nil {
				t.Fatal(err)
			}
			s.await(func(l logLine) bool { return l.Message == "session" && l.Remote == bare })
			got := drain(t, s, alice)
			if want := "Received: from client.example ([" + literal + "])\r\n"; len(got) != 1 || !strings.Contains(string(got[0].raw), want) {
				t.Errorf("want %q, got %q", want, got)
			}
		}
	}
}

// TestProxyThrottle shows that an address from a PROXY header is slowed down when it guesses passwords, also one that would be
// free if it were the connection's own.
func TestProxyThrottle(t *testing.T) {
	s := serveProxied(t, "[proxy]\ntrusted = [\"127.0.0.1\"]\n[limits]\nlogin_ban_after = 2\nlogin_max_delay = \"0s\"\n")
	guess := func(header string) (answers []string) {
		t.Helper()
		for n := range 3 {
			raw, err := net.Dial("tcp", s.addr["pop3s"])
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			raw.SetDeadline(time.Now().Add(patience))
			io.WriteString(raw, header)
			c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
			fmt.Fprintf(c, "USER %s\r\nPASS wrong %d %d\r\nQUIT\r\n", alice, len(header), n) // one wrong secret counts once
			text, err := io.ReadAll(c)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			answers = append(answers, strings.Split(string(text), "\r\n")[2])
		}
		return answers
	}
	const wrong, later = "-ERR [AUTH] ", "-ERR [SYS/TEMP] "
	for header, want := range map[string][3]string{
		headerV1(netip.MustParseAddrPort("10.1.2.3:4711")): {wrong, wrong, later},
		"PROXY UNKNOWN\r\n": {wrong, wrong, wrong},
	} {
		for i, answer := range guess(header) {
			if !strings.HasPrefix(answer, want[i]) {
				t.Errorf("%q, guess %d: %q, want %q", header, i, answer, want[i])
			}
		}
	}
}

const helloMail = header + "\r\nHello.\r\n"

// TestProxyHeader shows what counts as a header: one in two pieces does, UNKNOWN is the proxy itself, TLS begins behind it, and
// nobody is served without one.
func TestProxyHeader(t *testing.T) {
	t.Parallel()
	s := serveProxied(t, trustedProxy)
	// A header cut in two is still one.
	whole := headerV1(netip.MustParseAddrPort("198.51.100.9:1"))
	c := behind(t, s.addr["smtp"], "220 ", whole[:20], whole[20:])
	if _, err := c.smtp("221", "QUIT"); err != nil {
		t.Error(err)
	}
	for range 3 { // the proxy itself, which is exempt
		behind(t, s.addr["smtp"], "220 ", "PROXY UNKNOWN\r\n")
	}
	// TLS begins behind the header.
	raw, err := net.Dial("tcp", s.addr["pop3s"])
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	io.WriteString(raw, headerV2(netip.MustParseAddrPort("[2001:db8::7]:1")))
	// What is shown here is who is logged, not who signed.
	pop := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	if _, err := io.WriteString(pop, "QUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(pop); err != nil || !strings.HasPrefix(string(answer), "+OK") {
		t.Errorf("%q, %v", answer, err)
	}
	s.await(func(l logLine) bool {
		return l.Message == "session" && l.Listener == "pop3s" && l.Remote == "2001:db8::7"
	})
	direct, err := dialSMTP(s.addr["smtp"])
	if err == nil {
		t.Error("a connection without a header is served")
		direct.Close()
	}
	s.await(func(l logLine) bool {
		return l.Message == "connection refused" && strings.Contains(l.Reason, "PROXY header")
	})
}

// TestProxyUntrusted shows that who is not in [proxy] trusted is closed unheard, and that a reload changes who is.
func TestProxyUntrusted(t *testing.T) {
	s := serveProxied(t, "[proxy]\ntrusted = [\"192.0.2.1\"]\n")
	header := headerV1(netip.MustParseAddrPort("198.51.100.1:1"))
	c, err := net.Dial("tcp", s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, header)
	if n, _ := c.Read(make([]byte, 1)); n > 0 {
		t.Error("a stranger's header is believed")
	}
	s.await(func(l logLine) bool {
		return l.Message == "connection refused" && l.Remote == "127.0.0.1" && strings.Contains(l.Reason, "[proxy] trusted")
	})
	config := regexp.MustCompile(`--config (\S+)`).FindStringSubmatch(s.procs[0].cmd.String())[1]
	if err := os.WriteFile(config, []byte(trustedProxy), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.procs {
		p.cmd.Process.Signal(syscall.SIGHUP)
	}
	s.await(func(l logLine) bool { return l.Message == "reloaded" && (l.Role == "smtpd" || s.shape == shapeServe) })
	behind(t, s.addr["smtp"], "220 ", header)
}
