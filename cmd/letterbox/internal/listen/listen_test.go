package listen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Address{
		"localhost:2525":                   {Network: "tcp", Text: "localhost:2525"},
		":25":                              {Network: "tcp", Text: ":25"},
		"[::1]:995  tls":                   {Network: "tcp", Text: "[::1]:995", TLS: true},
		"0.0.0.0:110 proxy tls-in-front":   {Network: "tcp", Text: "0.0.0.0:110", Proxy: true, TLSInFront: true},
		"mail.example:65535 tls proxy":     {Network: "tcp", Text: "mail.example:65535", TLS: true, Proxy: true},
		"unix:/run/letterbox/lmtp.sock":    {Network: "unix", Text: "/run/letterbox/lmtp.sock"},
		"unix:relative tls":                {Network: "unix", Text: "relative", TLS: true},
		"fd:smtp proxy":                    {Network: "fd", Text: "smtp", Proxy: true},
		"\t127.0.0.1:0\ttls-in-front\n":    {Network: "tcp", Text: "127.0.0.1:0", TLSInFront: true},
		"192.0.2.1:25 tls-in-front proxy ": {Network: "tcp", Text: "192.0.2.1:25", Proxy: true, TLSInFront: true},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q became %q and then %+v, %v", text, got, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "is empty",
		"  ":                            "is empty",
		"25":                            "not HOST:PORT",
		"localhost":                     "not HOST:PORT",
		"::1:25":                        "in brackets",
		"localhost:smtp":                `port "smtp"`,
		"localhost:65536":               `port "65536"`,
		"localhost:-1":                  `port "-1"`,
		"localhost:":                    `port ""`,
		"*:25":                          "write :25",
		"unix:":                         "no path",
		"unix:@abstract":                "no path",
		"fd:":                           "no name",
		"fd:a:b":                        "no name",
		"localhost:25 ssl":              `unknown word "ssl"`,
		"localhost:25 TLS":              `unknown word "TLS"`,
		"localhost:25 tls tls":          "tls twice",
		"localhost:25 tls proxy proxy":  "proxy twice",
		"localhost:25 tls-in-front tls": "both tls and tls-in-front",
	} {
		if a, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", text, a, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"localhost:25 tls", "unix:/a proxy", "fd:x", "[::1]:0 tls-in-front", ": :"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(a.String()); err != nil || again != a {
			t.Fatalf("%q was read as %+v, and %q as %+v, %v", s, a, a.String(), again, err)
		}
	})
}

// open opens what Parse reads, and closes it at the end of the test.
func open(t *testing.T, text string) ([]net.Listener, error) {
	t.Helper()
	a, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	list, err := Open(a)
	for _, l := range list {
		t.Cleanup(func() { l.Close() })
	}
	return list, err
}

func addrPort(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

func haveIPv6(t *testing.T) bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Log("this machine has no ::1")
		return false
	}
	l.Close()
	return true
}

func TestOpenLocalhost(t *testing.T) {
	list, err := open(t, "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	first := addrPort(list[0])
	if first.Addr() != netip.MustParseAddr("127.0.0.1") || first.Port() == 0 {
		t.Errorf("the first is %s", first)
	}
	if !haveIPv6(t) {
		return
	}
	if len(list) != 2 || addrPort(list[1]) != netip.AddrPortFrom(netip.IPv6Loopback(), first.Port()) {
		t.Errorf("%d listeners, the last is %s", len(list), list[len(list)-1].Addr())
	}
}

func TestOpenSingle(t *testing.T) {
	// 0.0.0.0 is IPv4 alone: the IPv6 side of the same port stays free.
	list, err := open(t, "0.0.0.0:0")
	if err != nil || len(list) != 1 || !addrPort(list[0]).Addr().Is4() {
		t.Fatalf("%v, %v", list, err)
	}
	if haveIPv6(t) {
		if _, err := open(t, net.JoinHostPort("::1", strconv.Itoa(int(addrPort(list[0]).Port())))); err != nil {
			t.Error(err)
		}
	}
	path := filepath.Join(t.TempDir(), "s")
	list, err = open(t, "unix:"+path)
	if err != nil || len(list) != 1 || list[0].Addr().String() != path {
		t.Fatalf("%v, %v", list, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Every mistake is one sentence that names the address and what to do.
func TestOpenSentences(t *testing.T) {
	taken, err := open(t, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(int(addrPort(taken[0]).Port()))
	for text, want := range map[string][]string{
		"127.0.0.1:" + port:                 {"127.0.0.1:" + port, "another program"},
		"localhost:" + port:                 {"127.0.0.1:" + port, "another program"},
		"192.0.2.77:2525":                   {"192.0.2.77:2525", "does not have that address"},
		"no-such-host.invalid:25":           {"no-such-host.invalid:25"},
		"unix:/" + strings.Repeat("x", 100): {"101 octets", "shorter"},
		"fd:smtp":                           {"fd:smtp", "handed over no sockets"},
	} {
		list, err := open(t, text)
		if err == nil {
			t.Errorf("%q was opened: %v", text, list)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("%q: %v; want %q", text, err, w)
			}
		}
	}
	err = explain("", "25", os.NewSyscallError("bind", syscall.EACCES))
	if !strings.Contains(err.Error(), ":25") || !strings.Contains(err.Error(), "CAP_NET_BIND_SERVICE") || !errors.Is(err, syscall.EACCES) {
		t.Errorf("a port below 1024: %v", err)
	}
}

func TestInheritedNames(t *testing.T) {
	env := map[string]string{"LISTEN_PID": "42", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "smtp:pop3"}
	getenv := func(k string) string { return env[k] }
	if got := inherited(getenv, 42, 7); !slices.Equal(got, []string{"smtp", "pop3", ""}) {
		t.Errorf("%q", got)
	}
	if got := inherited(getenv, 43, 7); got != nil {
		t.Errorf("sockets of another process: %q", got)
	}
	for _, bad := range []string{"", "-1", "x", "99999999999"} {
		env["LISTEN_FDS"] = bad
		if got := inherited(getenv, 42, 7); got != nil {
			t.Errorf("LISTEN_FDS=%s: %q", bad, got)
		}
	}
}

// A handed-over socket can be opened again after it was closed, and its file stays.
func TestFromDescriptor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	original, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer original.Close()
	f, err := original.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 {
		l, err := fromDescriptor("lmtp", int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got.Close()
		c.Close()
		l.Close()
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the service manager's file is gone: %v", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := fromDescriptor("lmtp", int(null.Fd())); err == nil || !strings.Contains(err.Error(), "no listening stream socket") {
		t.Errorf("a file: %v", err)
	}
}
