package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// move runs import or export on a server's data folder and returns what it printed.
func (s *server) move(args ...string) string {
	s.t.Helper()
	cmd := letterbox(s.t, append(args, "--data", s.data)...)
	cmd.Env = append(cmd.Env, "LETTERBOX_IMPORT_PASSWORD="+password)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%v: %v\n%s%s", args, err, out, stderr.String())
	}
	return string(out)
}

// maildirOf makes a maildir of n messages at dir and returns what POP3 should show of each, in order.
func maildirOf(t *testing.T, dir string, n int) (want []string) {
	t.Helper()
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		raw := fmt.Appendf(nil, "From: <a@b.example>\nSubject: %d\n\n%s", i, lf(text(i*97%3000, uint64(i))))
		if len(raw) > 0 && raw[len(raw)-1] != '\n' {
			raw = append(raw, '\n')
		}
		write(t, filepath.Join(dir, "cur", fmt.Sprintf("%d.M%d.host:2,S", 1_600_000_000+i, i)), raw)
		want = append(want, string(crlf(raw)))
	}
	return want
}

// bodies are the messages that POP3 shows, in order.
func bodies(got []fetched) (all []string) {
	for _, f := range got {
		all = append(all, string(f.raw))
	}
	return all
}

// broken starts a command and kills it at a random moment before bound, again and again.
func (s *server) broken(rounds int, bound time.Duration, args ...string) {
	s.t.Helper()
	for range rounds {
		cmd := letterbox(s.t, append(args, "--data", s.data)...)
		cmd.Env = append(cmd.Env, "LETTERBOX_IMPORT_PASSWORD="+password)
		if err := cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(rand.N(bound)) // the moment of the kill is what is random here
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// TestMoveKill9 breaks moves of each kind off at random moments, beside a running daemon and without one, and wants all of it
// there once in the end.
func TestMoveKill9(t *testing.T) {
	t.Parallel()
	n, rounds, bound := 150, 4, 150*time.Millisecond
	if long() {
		n, rounds, bound = 1500, 25, time.Second
	}
	dir := filepath.Join(t.TempDir(), "Maildir")
	want := maildirOf(t, dir, n)
	origin := serve(t)
	origin.complete(n, rounds, bound, "import", "maildir", dir, "--to", alice)
	out := filepath.Join(t.TempDir(), "mbox")
	origin.broken(rounds, bound/2, "export", "mbox", out, "--from", alice)
	os.Remove(out) // where a round was quicker than its kill
	t.Log(origin.move("export", "mbox", out, "--from", alice))
	for name, source := range map[string]string{"maildir": dir, "mbox": out} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.terminate()
			s.complete(n, rounds, bound, "import", name, source, "--to", alice)
			s = serveData(t, s.data)
			out := filepath.Join(t.TempDir(), "out")
			s.broken(rounds, bound/2, "export", "maildir", out, "--from", alice)
			t.Log(s.move("export", "maildir", out, "--from", alice))
			var files []string
			for _, b := range newClient(t, s, plain, "pop3").collect(filepath.Join(out, "new")) {
				files = append(files, string(crlf(b)))
			}
			slices.Sort(files)
			got := bodies(drain(t, s, alice))
			if !slices.Equal(got, want) {
				t.Errorf("%d messages came back, or others, or in another order than the %d of the source", len(got), n)
			}
			slices.Sort(got)
			if !slices.Equal(files, got) {
				t.Errorf("%d files were written, or others than the %d messages", len(files), n)
			}
		})
	}
}

// complete breaks an import off, finishes it, and wants nothing left to do for another.
func (s *server) complete(n, rounds int, bound time.Duration, args ...string) {
	s.t.Helper()
	s.broken(rounds, bound, args...)
	s.t.Log(s.move(args...))
	if out := s.move(args...); !strings.HasPrefix(out, fmt.Sprintf("0 imported, %d there already, 0 clashes", n)) {
		s.t.Errorf("once more: %s", out)
	}
}

// dovecot is Debian's Dovecot with one account, alice, whose mail is the maildir in its home.
type dovecot struct{ addr, maildir string }

func startDovecot(t *testing.T) *dovecot {
	t.Helper()
	need(t, "dovecot", "fetchmail")
	owner, err := user.Lookup("mail")
	if os.Geteuid() != 0 || err != nil {
		unable(t, "Dovecot wants root, and a user `mail`")
	}
	dir, err := os.MkdirTemp("", "letterbox-dovecot-") // not t.TempDir: other users have to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close() // Dovecot has no way to say which port it got
	d := &dovecot{addr: fmt.Sprintf("127.0.0.1:%d", port), maildir: filepath.Join(dir, "home", "Maildir")}
	os.Chmod(dir, 0o755)
	os.MkdirAll(d.maildir, 0o700)
	write(t, filepath.Join(dir, "users"), []byte(alice+":{PLAIN}"+password+"\n"))
	os.Chmod(filepath.Join(dir, "users"), 0o644)
	conf := write(t, filepath.Join(dir, "dovecot.conf"), fmt.Appendf(nil, `base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = %[1]s/log
protocols = pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = %[1]s/users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=%[1]s/home
}
service pop3-login {
  inet_listener pop3 {
    port = %[2]d
  }
  inet_listener pop3s {
    port = 0
  }
}
`, dir, port))
	d.own(t, owner, filepath.Dir(d.maildir))
	cmd := exec.Command("dovecot", "-F", "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("doveadm", "-c", conf, "stop").Run()
		cmd.Wait()
		if log, err := os.ReadFile(filepath.Join(dir, "log")); t.Failed() && err == nil {
			t.Logf("log of Dovecot:\n%s", log)
		}
	})
	d.ready(t)
	return d
}

// own gives what is at path to Dovecot's user.
func (d *dovecot) own(t *testing.T, owner *user.User, path string) {
	t.Helper()
	if out, err := exec.Command("chown", "-R", owner.Uid+":"+owner.Gid, path).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

// ready waits until Dovecot greets.
func (d *dovecot) ready(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := dial(d.addr); err == nil {
			_, err = c.line()
			c.Close()
			if err == nil {
				return
			}
		}
	}
	t.Fatal("Dovecot did not greet")
}

// shows returns the n messages that Dovecot shows. None is deleted, since there is no QUIT.
func (d *dovecot) shows(t *testing.T, n int) []string {
	t.Helper()
	c, err := dialPOP(d.addr, alice)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all []fetched
	for i := range n {
		one, err := c.take(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return bodies(all)
}

// keep lets fetchmail fetch what is new at addr and leave it there; it returns how many messages its box has then.
func (c *client) keep(addr, box string) int {
	c.Helper()
	host, port, _ := net.SplitHostPort(addr)
	rc := c.file("fetchmailrc", fmt.Sprintf("set invisible\npoll mail.example via %s protocol POP3 port %s uidl timeout 60\n"+
		"  user '%s' password '%s' keep no rewrite pass8bits no dropdelivered sslproto ''\n  mda '%s'\n", host, port, alice, password, c.deliverer(box)))
	cmd := exec.Command("fetchmail", "--nodetach", "--nosyslog", "--fetchmailrc", rc, "--pidfile", c.path("pid"), "--idfile", c.path("ids"))
	cmd.Env = append(os.Environ(), "HOME="+c.home, "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: no new mail
		c.Fatalf("fetchmail: %v\n%s", err, out)
	}
	return len(c.collect(box))
}

// TestMoveFromDovecot moves a maildrop from a real Dovecot, as files and by POP3, and asks a fetchmail that keeps mail on the
// server: it fetches nothing twice. What is moved out again Dovecot serves octet by octet.
func TestMoveFromDovecot(t *testing.T) {
	t.Parallel()
	d := startDovecot(t)
	const n = 40
	want := maildirOf(t, d.maildir, n)
	owner, _ := user.Lookup("mail")
	d.own(t, owner, d.maildir)
	c := newClient(t, serve(t), plain, "pop3")
	box := c.box()
	if got := c.keep(d.addr, box); got != n {
		t.Fatalf("fetchmail has %d messages of Dovecot, want %d", got, n)
	}
	if got := d.shows(t, n); !slices.Equal(got, want) {
		t.Fatal("Dovecot does not show the messages that were made")
	}

	for _, source := range [][]string{{"maildir", d.maildir}, {"pop3", d.addr, "--no-tls", "--user", alice}} {
		t.Run(source[0], func(t *testing.T) {
			s := serve(t)
			t.Log(s.move(append(append([]string{"import"}, source...), "--to", alice)...))
			if got := c.keep(s.addr["pop3"], box); got != n {
				t.Errorf("after the move fetchmail has %d messages, want the %d of before", got, n)
			}
			put(t, s, []byte("Subject: new\r\n\r\nnew\r\n"), alice)
			if got := c.keep(s.addr["pop3"], box); got != n+1 {
				t.Errorf("fetchmail has %d messages, want the new one too", got)
			}
			os.RemoveAll(box)
			c.run(nil, "mkdir", box)
			for i := range n { // as many files as before, for the next
				write(t, filepath.Join(box, fmt.Sprint("old", i)), nil)
			}
			if got := bodies(drain(t, s, alice)); len(got) != n+1 || !slices.Equal(got[:n], want) {
				t.Errorf("%d messages, or in another order or with other octets than Dovecot's", len(got))
			}
		})
	}
}

// TestMoveToDovecot moves mail out to a maildir: Dovecot serves it octet by octet.
func TestMoveToDovecot(t *testing.T) {
	t.Parallel()
	d := startDovecot(t)
	s := serve(t)
	for _, m := range mails() {
		put(t, s, m.raw, alice)
	}
	t.Log(s.move("export", "maildir", d.maildir, "--from", alice))
	owner, _ := user.Lookup("mail")
	d.own(t, owner, d.maildir)
	c, err := dialPOP(d.addr, alice)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	served, err := c.drain()
	if err != nil {
		t.Fatal(err)
	}
	got, want := bodies(served), bodies(drain(t, s, alice))
	slices.Sort(got)
	slices.Sort(want)
	if len(got) != len(want) {
		t.Fatalf("Dovecot shows %d messages, want %d", len(got), len(want))
	}
	for i := range want {
		same(t, []byte(got[i]), []byte(want[i]))
	}
}
