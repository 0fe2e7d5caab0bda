package e2e

import (
	"fmt"
	"io"
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

// mta is a mail server that relays all that it is given to one letterbox.
type mta struct {
	*testing.T
	folder string // its own, which every user may enter
	addr   string // where it takes mail
	queued func() int
	log    string // the file that tells how deliveries went
}

// mtas start the mail servers of Debian that send most of the world's mail. target is letterbox's port on 127.0.0.1.
func mtas() map[string]func(t *testing.T, target string) *mta {
	return map[string]func(*testing.T, string) *mta{"Postfix": postfix, "Exim": exim, "OpenSMTPD": opensmtpd}
}

func postfix(t *testing.T, target string) *mta {
	need(t, "postfix")
	needRoot(t)
	m := newMTA(t)
	config := filepath.Join(m.folder, "etc")
	m.makeFolders("etc", "spool", "data")
	m.command("chown", "postfix", filepath.Join(m.folder, "data")).run()
	m.settings("main.cf", filepath.Join(config, "main.cf"), target)
	m.settings("master.cf", filepath.Join(config, "master.cf"), target)
	m.command("postfix", "-c", config, "start").run()
	t.Cleanup(func() { m.command("postfix", "-c", config, "stop").run() })
	m.log = filepath.Join(m.folder, "log")
	m.queued = func() int {
		n := 0
		for _, queue := range []string{"incoming", "active", "deferred"} {
			n += m.count(filepath.Join(m.folder, "spool", queue), func(string) bool { return true })
		}
		return n
	}
	m.ready()
	// Where a delivery agent still has the file of a message that it gave back, the message rests for a minute, and then until
	// its queue is looked at.
	m.often(func() { exec.Command("postqueue", "-c", config, "-f").Run() })
	return m
}

func exim(t *testing.T, target string) *mta {
	m := newMTA(t)
	m.world("exim4")
	m.user("Debian-exim", 64001)
	m.makeFolders("etc/exim4", "var/spool/exim4")
	m.command("chown", "64001:64001", filepath.Join(m.folder, "var/spool/exim4"), filepath.Join(m.folder, "run")).run()
	m.settings("exim4.conf", filepath.Join(m.folder, "etc/exim4/exim4.conf"), target)
	m.enter("/usr/sbin/exim4", "-bdf", "-q1s")
	m.log = filepath.Join(m.folder, "var/spool/exim4/mainlog")
	m.queued = func() int {
		return m.count(filepath.Join(m.folder, "var/spool/exim4/input"), func(name string) bool { return strings.HasSuffix(name, "-H") })
	}
	return m.ready()
}

func opensmtpd(t *testing.T, target string) *mta {
	m := newMTA(t)
	m.world("smtpd")
	m.user("opensmtpd", 64002)
	m.user("opensmtpq", 64003)
	m.makeFolders("var/lib/opensmtpd/empty", "var/spool/smtpd")
	// It insists on the group and mode of the program that hands mail in.
	ctl := filepath.Join(m.folder, "usr/sbin/smtpctl")
	m.command("chgrp", "64003", ctl).run()
	m.command("chmod", "2755", ctl).run()
	m.command("chmod", "711", filepath.Join(m.folder, "var/spool/smtpd")).run()
	m.settings("smtpd.conf", filepath.Join(m.folder, "etc/smtpd.conf"), target)
	m.log = filepath.Join(m.folder, "log")
	daemon := m.enter("/usr/sbin/smtpd", "-d")
	m.queued = func() int {
		return m.count(filepath.Join(m.folder, "var/spool/smtpd/queue"), func(name string) bool { return len(name) == 16 })
	}
	m.ready()
	// It tries again after 400 s at the earliest, and rests a route that failed.
	m.often(func() {
		in := []string{"-t", strconv.Itoa(daemon), "-m", "sh", "-c"}
		exec.Command("nsenter", append(in, "smtpctl schedule all; smtpctl show routes | cut -d. -f1 | xargs -rn1 smtpctl resume route")...).Run()
	})
	return m
}

// newMTA makes the folder and chooses the port.
func newMTA(t *testing.T) *mta {
	t.Helper()
	folder, err := os.MkdirTemp("", "letterbox-mta-") // t.TempDir lets no other user in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return &mta{T: t, folder: folder, addr: freeAddress(t)}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		unable(t, "this test wants root: mail servers change their user")
	}
}

func (m *mta) makeFolders(names ...string) {
	m.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(m.folder, name), 0o755); err != nil {
			m.Fatal(err)
		}
	}
}

// settings copies a configuration from testdata, with ports and folder filled in.
func (m *mta) settings(name, to, target string) {
	m.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/senders", name))
	if err != nil {
		m.Fatal(err)
	}
	_, listen, _ := net.SplitHostPort(m.addr)
	filled := strings.NewReplacer("LISTEN", listen, "TARGET", target, "FOLDER", m.folder).Replace(string(text))
	if err := os.WriteFile(to, []byte(filled), 0o644); err != nil {
		m.Fatal(err)
	}
}

// command is one program that has to succeed.
type command struct {
	t   *testing.T
	cmd *exec.Cmd
}

func (m *mta) command(name string, args ...string) command {
	return command{m.T, exec.Command(name, args...)}
}

func (c command) run() {
	c.t.Helper()
	if out, err := c.cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s", c.cmd, err, out)
	}
}

// places are the folders that a mail server sees its own of: the packages conflict, and what they would write to a machine is
// not wanted there.
const places = "etc run var/lib var/spool usr/sbin usr/libexec"

// world prepares these folders for the package that program is unpacked from.
func (m *mta) world(program string) {
	m.Helper()
	need(m.T, program, "unshare", "nsenter")
	needRoot(m.T)
	path, err := exec.LookPath(program)
	if err != nil {
		m.Fatal(err)
	}
	m.makeFolders(strings.Fields(places)...)
	m.command("cp", "-a", "/etc/.", filepath.Join(m.folder, "etc")).run()
	m.command("cp", "-a", filepath.Dir(path)+"/.", filepath.Join(m.folder, "usr/sbin")).run()
	if helpers := filepath.Join(filepath.Dir(path), "../libexec/opensmtpd"); program == "smtpd" {
		m.command("cp", "-a", helpers, filepath.Join(m.folder, "usr/libexec")).run()
	}
}

// user adds one to the world.
func (m *mta) user(name string, id int) {
	m.Helper()
	for file, line := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::/var/lib/opensmtpd/empty:/usr/sbin/nologin\n", name, id, id),
		"group":  fmt.Sprintf("%s:x:%d:\n", name, id),
	} {
		f, err := os.OpenFile(filepath.Join(m.folder, "etc", file), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			m.Fatal(err)
		}
		if _, err = f.WriteString(line); err != nil {
			m.Fatal(err)
		}
		f.Close()
	}
}

// enter starts a server within the world, and returns its process's number. What it prints goes to the file log.
func (m *mta) enter(args ...string) int {
	m.Helper()
	out, err := os.Create(filepath.Join(m.folder, "log"))
	if err != nil {
		m.Fatal(err)
	}
	defer out.Close()
	const bind = `world=$1; shift; for d in ` + places + `; do mount --bind "$world/$d" "/$d"; done; exec "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-euc", bind, "sh", m.folder}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	m.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its own group
		<-done
	})
	return cmd.Process.Pid
}

// often calls f each second until the test ends.
func (m *mta) often(f func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
				f()
			}
		}
	}()
	m.Cleanup(func() { close(stop); <-done })
}

// count walks a queue. Files come and go meanwhile.
func (m *mta) count(folder string, fits func(name string) bool) (n int) {
	filepath.WalkDir(folder, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && fits(d.Name()) {
			n++
		}
		return nil
	})
	return n
}

// ready waits until the server takes connections.
func (m *mta) ready() *mta {
	m.Helper()
	m.until("it takes connections", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return m
}

// until waits for something that the server has no other sign of.
func (m *mta) until(what string, holds func() bool) {
	m.Helper()
	deadline := time.Now().Add(2 * patience)
	for !holds() {
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(m.log)
			files, _ := exec.Command("find", m.folder, "-type", "f", "-path", "*spool*", "-printf", "%M %TT %P\n").Output()
			m.Fatalf("waited in vain until %s; queued are %d; its files:\n%.4000sand its log ends:\n%s", what, m.queued(), files, log[max(0, len(log)-8<<10):])
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// logHolds tells whether the server's log holds a text.
func (m *mta) logHolds(texts ...string) bool {
	f, err := os.Open(m.log)
	if err != nil {
		return false
	}
	defer f.Close()
	all, _ := io.ReadAll(f)
	for _, text := range texts {
		if strings.Contains(string(all), text) {
			return true
		}
	}
	return false
}
