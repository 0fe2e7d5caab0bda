package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// How a client reaches a daemon.
const (
	plain    = "plain"
	starttls = "starttls" // STARTTLS or STLS
	implicit = "tls"      // TLS from the first octet on
	lmtp     = "lmtp"
)

// client runs one program against one server, with a home of its own.
type client struct {
	*testing.T
	server *server
	mode   string // plain, starttls, implicit or lmtp
	home   string
	host   string
	port   string
}

// smtpListener and popListener say which listener serves a mode.
var (
	smtpListener = map[string]string{plain: "smtp", starttls: "smtp", implicit: "smtps", lmtp: "lmtp"}
	popListener  = map[string]string{plain: "pop3", starttls: "pop3", implicit: "pop3s"}
)

func newClient(t *testing.T, s *server, mode, listener string) *client {
	t.Helper()
	host, port, found := strings.Cut(s.addr[listener], ":")
	if !found {
		t.Fatalf("no listener %s", listener)
	}
	return &client{T: t, server: s, mode: mode, home: t.TempDir(), host: host, port: port}
}

// file writes a file into the client's home and returns its path.
func (c *client) file(name, content string) string {
	c.Helper()
	return write(c.T, filepath.Join(c.home, name), []byte(content))
}

// path is a name in the client's home.
func (c *client) path(name string) string { return filepath.Join(c.home, name) }

// run runs a program with stdin and returns what it wrote to standard output. The test fails if the program does.
func (c *client) run(stdin []byte, name string, args ...string) []byte {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.home
	cmd.Env = append(os.Environ(), "HOME="+c.home, "LC_ALL=C.UTF-8", "TZ=UTC", "TERM=xterm")
	cmd.Stdin = strings.NewReader(string(stdin))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.Fatalf("%s: %v\n%s%.2000s", cmd, err, stderr.String(), out)
	}
	return out
}

// testdata is the path of a script beside the tests.
func (c *client) testdata(name string) string {
	c.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		c.Fatal(err)
	}
	return path
}

// pick returns the second of a pair of values where the client's mode is one of modes, else the first.
func (c *client) pick(otherwise, value string, modes ...string) string {
	if slices.Contains(modes, c.mode) {
		return value
	}
	return otherwise
}
