package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// front is a real proxy before letterbox.
type front struct {
	name  string
	need  []string
	start func(t *testing.T, listen, target string) *exec.Cmd
}

func fronts() []front {
	haproxy := func(option string) func(*testing.T, string, string) *exec.Cmd {
		return func(t *testing.T, listen, target string) *exec.Cmd {
			config := write(t, filepath.Join(t.TempDir(), "haproxy.cfg"), fmt.Appendf(nil, "defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n"+
				" timeout server 1m\nlisten smtp\n bind %s\n server letterbox %s %s\n", listen, target, option))
			return exec.Command("haproxy", "-db", "-f", config)
		}
	}
	return []front{
		{"HAProxy, version 1", []string{"haproxy"}, haproxy("send-proxy")},
		{"HAProxy, version 2", []string{"haproxy"}, haproxy("send-proxy-v2")},
		{"HAProxy, version 2 with TLVs and checks", []string{"haproxy"}, haproxy("send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 200ms")},
		{"nginx", []string{"nginx"}, nginx},
	}
}

func nginx(t *testing.T, listen, target string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(filepath.Dir(path), "../lib/nginx/modules/ngx_stream_module.so")
	if _, err := os.Stat(module); err != nil {
		unable(t, "nginx has no stream module")
	}
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "nginx.conf"), fmt.Appendf(nil, "load_module %s;\ndaemon off;\nmaster_process off;\npid %s/pid;\nerror_log stderr;\n"+
		"events {}\nstream { server { listen %s; proxy_pass %s; proxy_protocol on; } }\n", module, dir, listen, target))
	return exec.Command("nginx", "-p", dir, "-e", "stderr", "-c", config)
}

// TestFronts puts HAProxy and nginx before letterbox: the sender's own address stands in Received and in the log and counts for
// the limits, and nobody comes in beside the proxy.
func TestFronts(t *testing.T) {
	t.Parallel()
	for _, f := range fronts() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			need(t, f.need...)
			s := serveProxied(t, trustedProxy)
			for from, listen := range map[string]string{"127.0.0.9": freeAddress(t), "::1": freeOn(t, "::1")} {
				t.Run(from, func(t *testing.T) { f.check(t, s, from, listen) })
			}
			c, err := dialSMTP(s.addr["smtp"])
			if err == nil {
				c.Close()
				t.Error("a direct connection is served")
			}
			s.await(func(l logLine) bool {
				return l.Message == "connection refused" && strings.Contains(l.Reason, "PROXY header")
			})
		})
	}
}

// freeOn is a port of an address of this machine on which nobody listens yet. It lies below those that systems give to outgoing
// connections and to listeners on port 0 (from 32768 on, or 49152): it stays free until it is used, however many connections
// there are meanwhile.
func freeOn(t *testing.T, host string) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(20_000+rand.N(12_000))))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	unable(t, "this machine has no %s", host)
	return ""
}

// check delivers one message from an address, through the proxy.
func (f front) check(t *testing.T, s *server, from, listen string) {
	t.Helper()
	background(t, f.start(t, listen, s.addr["smtp"]))
	c := dialFrom(t, from, listen)
	if _, err := c.reply("220"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.smtp("250", "EHLO client.example"); err != nil {
		t.Fatal(err)
	}
	// One at a time, for this sender and not for the proxy.
	if _, err := dialFrom(t, from, listen).reply("421"); err != nil {
		t.Errorf("a second connection: %v", err)
	}
	if _, err := c.deliver([]byte(helloMail), alice); err != nil {
		t.Fatal(err)
	}
	if _, err := c.smtp("221", "QUIT"); err != nil {
		t.Fatal(err)
	}
	s.await(func(l logLine) bool { return l.Message == "session" && l.Remote == from })
	literal := "[" + from + "]"
	if strings.Contains(from, ":") {
		literal = "[IPv6:" + from + "]"
	}
	got := drain(t, s, alice)
	if want := "Received: from client.example (" + literal + ")\r\n"; len(got) != 1 || !strings.Contains(string(got[0].raw), want) {
		t.Errorf("want %q in %q", want, got)
	}
}

// background runs a program until the test's end.
func background(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", cmd, out.String())
		}
	})
}

// dialFrom connects from one of this machine's addresses, as soon as somebody listens.
func dialFrom(t *testing.T, from, to string) *conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	raw, err := d.Dial("tcp", to)
	for deadline := time.Now().Add(patience); errors.Is(err, syscall.ECONNREFUSED) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
		raw, err = d.Dial("tcp", to)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(patience))
	return &conn{Conn: raw, r: bufio.NewReader(raw)}
}
