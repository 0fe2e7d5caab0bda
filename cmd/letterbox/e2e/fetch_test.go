package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fetchClient is a program that fetches mail and deletes it.
type fetchClient struct {
	name  string
	modes []string
	need  func(t *testing.T)
	// fetch fetches and deletes the n messages that wait for alice, and returns them in order.
	fetch func(c *client, n int) [][]byte
	// exact: the program hands on what came, octet by octet. Else it writes the line ends of Unix.
	exact bool
	// spoils names the mails that the program itself changes or refuses.
	spoils []string
}

func fetchClients() []fetchClient {
	needs := func(names ...string) func(*testing.T) { return func(t *testing.T) { t.Helper(); need(t, names...) } }
	perl := func(t *testing.T) { t.Helper(); needPerl(t, "Net::POP3", "IO::Socket::SSL") }
	all := []string{plain, starttls, implicit}
	return []fetchClient{
		{name: "curl", modes: all, need: needs("curl"), fetch: curlFetch, exact: true},
		{name: "fetchmail", modes: all, need: needs("fetchmail"), fetch: fetchmail},
		{name: "mpop", modes: all, need: needs("mpop"), fetch: mpop},
		// getmail6 has no STLS.
		{name: "getmail6", modes: []string{plain, implicit}, need: needs("getmail"), fetch: getmail, spoils: []string{"998 in the header"}},
		{name: "mutt", modes: all, need: needs("mutt", "script"), fetch: muttFetch, spoils: []string{"NUL"}},
		{name: "poplib", modes: all, need: needs("python3"), fetch: poplib, exact: true},
		{name: "Net::POP3", modes: all, need: perl, fetch: netPOP3},
	}
}

// TestFetch fetches hard content by every client and every transport, compares it, and wants the maildrop empty after.
func TestFetch(t *testing.T) {
	t.Parallel()
	for _, fc := range fetchClients() {
		t.Run(fc.name, func(t *testing.T) {
			t.Parallel()
			fc.need(t)
			s := serve(t)
			for _, mode := range fc.modes {
				t.Run(mode, func(t *testing.T) { fc.all(t, s, mode) })
			}
		})
	}
}

// all lets one client fetch every message by one transport.
func (fc fetchClient) all(t *testing.T, s *server, mode string) {
	var sent []mail
	for _, m := range mails() {
		if !slices.Contains(fc.spoils, m.name) {
			put(t, s, m.raw, alice)
			sent = append(sent, m)
		}
	}
	got := fc.fetch(newClient(t, s, mode, popListener[mode]), len(sent))
	if len(got) != len(sent) {
		t.Fatalf("%d messages, want %d", len(got), len(sent))
	}
	for i, m := range sent {
		t.Run(m.name, func(t *testing.T) {
			rest, want := withoutTrace(t, got[i], sender, alice), stored(m.raw)
			if !fc.exact {
				rest, want = lf(rest), lf(want)
			}
			same(t, rest, want)
		})
	}
	if left := drain(t, s, alice); len(left) != 0 {
		t.Errorf("%d messages are left", len(left))
	}
}

// box is a folder that collects messages, one a file.
func (c *client) box() string {
	c.Helper()
	dir := c.path("box")
	if err := os.Mkdir(dir, 0o700); err != nil {
		c.Fatal(err)
	}
	return dir
}

// deliverer writes the script by which a client hands on each message: it adds a file to box. It returns its path.
func (c *client) deliverer(box string) string {
	c.Helper()
	return c.script(fmt.Sprintf("cd '%s'\nexec cat > \"$(printf %%04d \"$(ls | wc -l)\")\"\n", box))
}

// getmailDeliverer is a deliverer that takes its time to end: getmail does not notice the end of a program that comes before
// it begins to wait, and then waits for a minute.
func (c *client) getmailDeliverer(box string) string {
	c.Helper()
	return c.script(fmt.Sprintf("cd '%s'\ncat > \"$(printf %%04d \"$(ls | wc -l)\")\"\nsleep 0.2\n", box))
}

// script is a file that the shell runs up to its first failure.
func (c *client) script(text string) string {
	c.Helper()
	path := c.file("deliver", "#!/bin/sh\nset -e\n"+text)
	if err := os.Chmod(path, 0o700); err != nil {
		c.Fatal(err)
	}
	return path
}

// collect reads the files of a box, which may be a maildir's folder, in the order in which they were written.
func (c *client) collect(box string) (all [][]byte) {
	c.Helper()
	files, err := os.ReadDir(box)
	if err != nil {
		c.Fatal(err)
	}
	// A maildir's names are SECONDS.PID_COUNTER.HOST.
	counter := func(f os.DirEntry) (n int) {
		_, rest, _ := strings.Cut(f.Name(), "_")
		fmt.Sscan(rest, &n)
		return n
	}
	slices.SortStableFunc(files, func(a, b os.DirEntry) int { return counter(a) - counter(b) })
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(box, file.Name()))
		if err != nil {
			c.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func curlFetch(c *client, n int) (all [][]byte) {
	c.Helper()
	base := c.pick("pop3", "pop3s", implicit) + "://" + c.host + ":" + c.port + "/"
	args := []string{"--disable", "--silent", "--show-error", "--cacert", c.server.cert, "--user", alice + ":" + password}
	if c.mode == starttls {
		args = append(args, "--ssl-reqd")
	}
	for i := range n {
		all = append(all, c.run(nil, "curl", append(args, fmt.Sprint(base, i+1))...))
	}
	for range n { // each run is a session, and numbers move up after it
		c.run(nil, "curl", append(args, "--head", "--request", "DELE 1", base)...)
	}
	return all
}

func fetchmail(c *client, _ int) [][]byte {
	c.Helper()
	box := c.box()
	tls := "sslproto ''"
	switch c.mode {
	case starttls:
		tls = fmt.Sprintf("sslproto 'auto' sslcertck sslcertfile '%s' sslcommonname localhost", c.server.cert)
	case implicit:
		tls = fmt.Sprintf("ssl sslproto 'auto' sslcertck sslcertfile '%s' sslcommonname localhost", c.server.cert)
	}
	rc := c.file("fetchmailrc", fmt.Sprintf("set invisible\npoll %s protocol POP3 port %s timeout 60\n"+
		"  user '%s' password '%s' fetchall no keep no rewrite pass8bits no dropdelivered %s\n  mda '%s'\n",
		c.host, c.port, alice, password, tls, c.deliverer(box)))
	c.run(nil, "fetchmail", "--nodetach", "--nosyslog", "--fetchmailrc", rc, "--pidfile", c.path("pid"), "--idfile", c.path("ids"))
	return c.collect(box)
}

func mpop(c *client, _ int) [][]byte {
	c.Helper()
	box := c.box()
	rc := c.file("mpoprc", strings.Join([]string{
		"account default", "host " + c.host, "port " + c.port, "user " + alice, "password " + password, "auth user",
		"tls " + c.pick("off", "on", starttls, implicit), "tls_starttls " + c.pick("on", "off", implicit), "tls_trust_file " + c.server.cert,
		"keep off", "received_header off", "uidls_file " + c.path("uidls"), "delivery mda " + c.deliverer(box), "",
	}, "\n"))
	c.run(nil, "mpop", "--file="+rc, "--quiet")
	return c.collect(box)
}

func getmail(c *client, _ int) [][]byte {
	c.Helper()
	box := c.box()
	retriever, ca := "SimplePOP3Retriever", ""
	if c.mode == implicit {
		retriever, ca = "SimplePOP3SSLRetriever", "ca_certs = "+c.server.cert
	}
	rc := c.file("getmailrc", strings.Join([]string{
		"[retriever]", "type = " + retriever, "server = " + c.host, "port = " + c.port, "username = " + alice, "password = " + password, ca,
		"[destination]", "type = MDA_external", "path = " + c.getmailDeliverer(box), "allow_root_commands = true", "unixfrom = false",
		"[options]", "delete = true", "received = false", "delivered_to = false", "",
	}, "\n"))
	c.run(nil, "getmail", "--quiet", "--getmaildir", c.home, "--rcfile", rc)
	return c.collect(box)
}

func muttFetch(c *client, _ int) [][]byte {
	c.Helper()
	box := c.path("maildir")
	server := fmt.Sprintf("%s://%s:%s/", c.pick("pop", "pops", implicit), c.host, c.port)
	rc := c.file("muttrc", strings.Join([]string{
		"set pop_user='" + alice + "'", "set pop_pass='" + password + "'", "set pop_authenticators=user", "set pop_checkinterval=0",
		"set ssl_starttls=" + c.pick("no", "yes", starttls), "set ssl_force_tls=" + c.pick("no", "yes", starttls, implicit),
		"set certificate_file=" + c.server.cert, "set ssl_ca_certificates_file=" + c.server.cert,
		"set mbox_type=Maildir", "set confirmcreate=no", "set confirmappend=no", "set sleep_time=0", "set delete=yes", "set quit=yes", "set wait_key=no", "set sort=mailbox-order",
		"set folder=" + c.home,
		`push "<tag-pattern>~A<enter><tag-prefix-cond><save-message>` + box + `<enter><end-cond><sync-mailbox><quit>"`, "",
	}, "\n"))
	// mutt wants a terminal.
	c.run(nil, "script", "--quiet", "--return", "--command", fmt.Sprintf("mutt -n -F '%s' -f '%s'", rc, server), "/dev/null")
	all := c.collect(filepath.Join(box, "new"))
	for i, b := range all { // two fields of mutt's own
		all[i] = regexp.MustCompile(`(?m)^Content-Length: \d+\nLines: \d+\n`).ReplaceAll(b, nil)
	}
	return all
}

func poplib(c *client, _ int) [][]byte {
	c.Helper()
	box := c.box()
	c.run(nil, "python3", c.testdata("fetch.py"), c.mode, c.host, c.port, c.server.cert, alice, password, box)
	return c.collect(box)
}

func netPOP3(c *client, _ int) [][]byte {
	c.Helper()
	box := c.box()
	c.run(nil, "perl", c.testdata("fetch.pl"), c.mode, c.host, c.port, c.server.cert, alice, password, box)
	return c.collect(box)
}
