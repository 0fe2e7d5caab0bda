package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// keeper is a program that fetches mail, leaves it on the server, and remembers what it has.
type keeper struct {
	name string
	need []string
	// fetch runs it once, and returns how many messages it has fetched in all. The program may fail: the store may be away.
	fetch func(c *client) int
}

func keepers() []keeper {
	return []keeper{
		{"fetchmail", []string{"fetchmail"}, fetchmailKeep},
		{"mpop", []string{"mpop"}, mpopKeep},
		{"getmail6", []string{"getmail"}, getmailKeep},
		{"Thunderbird", []string{"thunderbird", "python3"}, thunderbirdKeep},
	}
}

// TestStoreAway lets each client look for mail while the store's process is gone: it hears [SYS/TEMP], never of an empty
// maildrop, and so it forgets no UIDL: once the store is back, it downloads nothing twice.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	for _, k := range keepers() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			need(t, k.need...)
			s := newServer(t, shapeRoles, filepath.Join(t.TempDir(), "data"))
			args := s.threeProcesses()
			c := newClient(t, s, starttls, "pop3")
			if k.name == "getmail6" { // it has no STLS
				c = newClient(t, s, plain, "pop3")
			}
			for n := range 5 {
				put(t, s, fmt.Appendf(nil, "%s\r\nmessage %d\r\n", header, n), alice)
			}
			want := func(n int, when string) {
				t.Helper()
				if got := k.fetch(c); got != n {
					t.Errorf("%s: %d messages were fetched in all, want %d", when, got, n)
				}
			}
			want(5, "at first")
			for range 2 {
				s.storeGoes()
				want(5, "with the store away")
				s.start("store", roleCommand(t, "store", args))
				s.popAgain()
				want(5, "with the store back")
			}
			putAgain(t, s, []byte(header+"\r\nlate\r\n"), alice)
			want(6, "after another message")
		})
	}
}

// threeProcesses starts the roles, each a process, and returns the arguments.
func (s *server) threeProcesses() (args []string) {
	s.t.Helper()
	cert, key := certificate(s.t)
	s.cert = cert
	args = []string{
		"--data", s.data, "--log-format", "json", "--tls-cert", cert, "--tls-key", key, "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0",
		"--pop3s", "off", "--metrics", "off", "--hostname", "localhost", "--account", alice + ":" + password, "--run", s.t.TempDir(),
	}
	for _, role := range roles() {
		s.start(role, roleCommand(s.t, role, args))
	}
	s.ready("smtp", "pop3")
	s.storeReady()
	return args
}

// storeGoes ends the store's process, and waits until a client is told so.
func (s *server) storeGoes() {
	s.t.Helper()
	for _, p := range s.procs {
		if p.role == "store" && !p.over() {
			p.cmd.Process.Signal(syscall.SIGTERM)
			<-p.done
		}
	}
	if c, err := dialPOP(s.addr["pop3"], alice); err == nil || !strings.HasPrefix(err.Error(), "reply -ERR [SYS/TEMP]") {
		if err == nil {
			c.Close()
		}
		s.t.Errorf("a client saw %v, want [SYS/TEMP]", err)
	}
}

// popAgain waits until a client can log in.
func (s *server) popAgain() {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := dialPOP(s.addr["pop3"], alice)
		if err == nil {
			c.pop("QUIT")
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

// try runs a program that may fail.
func (c *client) try(name string, args ...string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.home
	cmd.Env = append(os.Environ(), "HOME="+c.home, "LC_ALL=C.UTF-8", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	c.Logf("%s: %v\n%s", name, err, out)
}

// keptBox is the client's box, made at its first use.
func (c *client) keptBox() string {
	c.Helper()
	if _, err := os.Stat(c.path("box")); err != nil {
		c.box()
	}
	return c.path("box")
}

// kept counts the messages in the client's box.
func (c *client) kept() int { return len(c.collect(c.path("box"))) }

func fetchmailKeep(c *client) int {
	c.Helper()
	rc := c.file("fetchmailrc", fmt.Sprintf("set invisible\npoll %s protocol POP3 uidl port %s timeout 60\n"+
		"  user '%s' password '%s' keep no rewrite pass8bits sslproto 'auto' sslcertck sslcertfile '%s' sslcommonname localhost\n  mda '%s'\n",
		c.host, c.port, alice, password, c.server.cert, c.deliverer(c.keptBox())))
	c.try("fetchmail", "--nodetach", "--nosyslog", "--fetchmailrc", rc, "--pidfile", c.path("pid"), "--idfile", c.path("ids"))
	return c.kept()
}

func mpopKeep(c *client) int {
	c.Helper()
	rc := c.file("mpoprc", strings.Join([]string{
		"account default", "host " + c.host, "port " + c.port, "user " + alice, "password " + password, "auth user", "tls on", "tls_starttls on",
		"tls_trust_file " + c.server.cert, "keep on", "received_header off", "uidls_file " + c.path("uidls"),
		"delivery mda " + c.deliverer(c.keptBox()), "",
	}, "\n"))
	c.try("mpop", "--file="+rc)
	return c.kept()
}

func getmailKeep(c *client) int {
	c.Helper()
	rc := c.file("getmailrc", strings.Join([]string{
		"[retriever]", "type = SimplePOP3Retriever", "server = " + c.host, "port = " + c.port, "username = " + alice, "password = " + password,
		"[destination]", "type = MDA_external", "path = " + c.getmailDeliverer(c.keptBox()), "allow_root_commands = true", "unixfrom = false",
		"[options]", "delete = false", "read_all = false", "received = false", "delivered_to = false", "",
	}, "\n"))
	c.try("getmail", "--getmaildir", c.home, "--rcfile", rc)
	return c.kept()
}

func thunderbirdKeep(c *client) int {
	c.Helper()
	b := &thunderbird{client: c, leave: true}
	got := b.fetch()
	if n := len(got.Messages); len(got.Popstate) != n {
		c.Errorf("%d UIDLs are remembered of %d messages; Thunderbird's status is %#x", len(got.Popstate), n, got.Status)
	}
	return len(got.Messages)
}
