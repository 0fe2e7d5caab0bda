package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"letterbox": main})
}

// patience bounds each wait for an event, so that a test that hangs says where.
const patience = 2 * time.Minute

// TestScript runs the files of testdata/script: each command with the daemon up and down, and each kind of bad input.
//
// Beside testscript's own commands they use
//
//	start NAME [flags]          letterbox serve, until systemd would call it ready; output in NAME.out and NAME.err,
//	                            each listener's address in $smtp, $pop3, …
//	halt NAME                   SIGTERM; it has to exit with 0
//	exits N PROGRAM [args]      run it and expect that exit status
//	hup NAME                    SIGHUP, until systemd would call it ready again
//	mail ADDR FROM TO           deliver one message by SMTP
//	login ADDR USER PASSWORD N  log in by POP3 and find N messages
//	loginfile ADDR USER FILE    log in with the password in FILE and find no message
//	get URL                     print what HTTP has there
//	appears PATTERN             wait until one file is there that a pattern means: $file
//	terminal PROGRAM [args]     run it with standard error on a terminal; what is shown there is in the file terminal ([linux])
//	cert ADDR FILE              find the certificate in FILE at ADDR, which begins with TLS
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Values[daemonsKey{}] = daemons{}
			// Else every command of a race-detecting build sleeps for a second before it exits.
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			env.Values[environKey{}] = env.Vars
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": startCommand, "halt": haltCommand, "exits": exitsCommand, "hup": hupCommand, "mail": mailCommand, "login": loginCommand, "delete": deleteCommand, "get": getCommand, "cert": certCommand,
			"spoil": spoilCommand, "appears": appearsCommand, "loginfile": loginFileCommand, "terminal": terminalCommand,
		},
	})
}

type (
	daemonsKey struct{}
	environKey struct{}
	daemons    map[string]*daemon
)

// daemon is a letterbox that runs beside a script.
type daemon struct {
	cmd    *exec.Cmd
	notify *net.UnixConn
	exited chan error
}

func startCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: start NAME [flags]")
	}
	name := args[0]
	path := ts.MkAbs(name + ".sock")
	os.Remove(path)
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	ts.Check(err)
	program, err := exec.LookPath("letterbox")
	ts.Check(err)
	environ := ts.Value(environKey{}).([]string)
	d := &daemon{cmd: exec.Command(program, append([]string{"serve"}, args[1:]...)...), notify: notify, exited: make(chan error, 1)}
	d.cmd.Dir = ts.Getenv("WORK")
	d.cmd.Env = append(environ[:len(environ):len(environ)], "NOTIFY_SOCKET="+path)
	d.cmd.Stdout, err = os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	d.cmd.Stderr, err = os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	ts.Check(d.cmd.Start())
	go func() { d.exited <- d.cmd.Wait() }()
	ts.Value(daemonsKey{}).(daemons)[name] = d
	ts.Defer(func() {
		d.cmd.Process.Kill()
		notify.Close()
	})
	d.await(ts, name, "READY=1")
	setAddresses(ts, name)
}

// await reads notifications until one holds want, or the daemon has ended.
func (d *daemon) await(ts *testscript.TestScript, name, want string) {
	d.notify.SetReadDeadline(time.Now().Add(patience))
	stopped := make(chan struct{})
	defer close(stopped)
	go func() {
		select {
		case err := <-d.exited:
			d.exited <- err
			d.notify.SetReadDeadline(time.Now())
		case <-stopped:
		}
	}()
	for buf := make([]byte, 4096); ; {
		n, err := d.notify.Read(buf)
		if err != nil {
			ts.Fatalf("%s did not say %s: %v\n%s", name, want, err, ts.ReadFile(name+".err"))
		}
		if strings.Contains(string(buf[:n]), want) {
			return
		}
	}
}

// setAddresses sets $smtp, $pop3 and so on from the daemon's log.
func setAddresses(ts *testscript.TestScript, name string) {
	for line := range strings.Lines(ts.ReadFile(name + ".err")) {
		var event struct{ Message, Listener, Addr string }
		if json.Unmarshal([]byte(line), &event) == nil && event.Message == "listening" {
			ts.Setenv(event.Listener, event.Addr)
		}
	}
}

func theDaemon(ts *testscript.TestScript, args []string) *daemon {
	if len(args) != 1 || ts.Value(daemonsKey{}).(daemons)[args[0]] == nil {
		ts.Fatalf("usage: halt|hup NAME, of one that was started")
	}
	return ts.Value(daemonsKey{}).(daemons)[args[0]]
}

func haltCommand(ts *testscript.TestScript, neg bool, args []string) {
	d := theDaemon(ts, args)
	ts.Check(d.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-d.exited:
		if (err != nil) != neg {
			ts.Fatalf("%s ended with %v\n%s", args[0], err, ts.ReadFile(args[0]+".err"))
		}
	case <-time.After(patience):
		ts.Fatalf("%s did not end within %s", args[0], patience)
	}
}

func hupCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("hup can't be negated")
	}
	d := theDaemon(ts, args)
	ts.Check(d.cmd.Process.Signal(syscall.SIGHUP))
	d.await(ts, args[0], "RELOADING=1")
	d.await(ts, args[0], "READY=1")
}

func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N PROGRAM [args]")
	}
	status := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		status = strconv.Itoa(exit.ExitCode())
	}
	if status != args[0] {
		ts.Fatalf("exit status %s, want %s", status, args[0])
	}
}

func mailCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: mail ADDR FROM TO")
	}
	err := deliver(args[0], args[1], args[2])
	if (err != nil) != neg {
		ts.Fatalf("mail to %s: %v", args[2], err)
	}
	ts.Logf("mail to %s: %v", args[2], err)
}

func deliver(addr, from, to string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From: <%s>\r\nTo: <%s>\r\nSubject: test\r\n\r\nhello\r\n", from, to)
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// deleteCommand deletes the first so many messages of a maildrop by POP3.
func deleteCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 || neg {
		ts.Fatalf("usage: delete ADDR USER PASSWORD COUNT")
	}
	n, err := strconv.Atoi(args[3])
	ts.Check(err)
	c, err := textproto.Dial("tcp", args[0])
	ts.Check(err)
	defer c.Close()
	_, err = c.ReadLine()
	ts.Check(err)
	lines := []string{"USER " + args[1], "PASS " + args[2]}
	for i := range n {
		lines = append(lines, fmt.Sprintf("DELE %d", i+1))
	}
	for _, line := range append(lines, "QUIT") {
		ts.Check(c.PrintfLine("%s", line))
		reply, err := c.ReadLine()
		ts.Check(err)
		if !strings.HasPrefix(reply, "+OK") {
			ts.Fatalf("%s: %s", line, reply)
		}
	}
}

func loginCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: login ADDR USER PASSWORD COUNT")
	}
	err := login(args[0], args[1], args[2], args[3])
	if (err != nil) != neg {
		ts.Fatalf("login of %s: %v", args[1], err)
	}
	ts.Logf("login of %s: %v", args[1], err)
}

func loginFileCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: loginfile ADDR USER FILE")
	}
	loginCommand(ts, neg, []string{args[0], args[1], strings.TrimSpace(ts.ReadFile(args[2])), "0"})
}

func login(addr, user, password, count string) error {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.ReadLine(); err != nil {
		return err
	}
	for _, step := range []struct{ send, want string }{
		{"USER " + user, "+OK"}, {"PASS " + password, "+OK"}, {"STAT", "+OK " + count + " "}, {"QUIT", "+OK"},
	} {
		if err := c.PrintfLine("%s", step.send); err != nil {
			return err
		}
		line, err := c.ReadLine()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, step.want) {
			c.PrintfLine("QUIT") // and wait: the maildrop is free when the answer is there
			c.ReadLine()
			return fmt.Errorf("%s: %s", strings.Fields(step.send)[0], line)
		}
	}
	return nil
}

func getCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: get URL")
	}
	answer, err := http.Get(args[0])
	ts.Check(err)
	defer answer.Body.Close()
	_, err = io.Copy(ts.Stdout(), answer.Body)
	ts.Check(err)
	if (answer.StatusCode != http.StatusOK) != neg {
		ts.Fatalf("%s: %s", args[0], answer.Status)
	}
}

func certCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: cert ADDR FILE")
	}
	block, _ := pem.Decode([]byte(ts.ReadFile(args[1])))
	if block == nil {
		ts.Fatalf("%s is no PEM", args[1])
	}
	// Which certificate is served is the question here, not who signed it.
	c, err := tls.Dial("tcp", args[0], &tls.Config{InsecureSkipVerify: true})
	ts.Check(err)
	defer c.Close()
	if bytes.Equal(c.ConnectionState().PeerCertificates[0].Raw, block.Bytes) == neg {
		ts.Fatalf("%s serves another certificate than expected", args[0])
	}
}

// spoilCommand flips a bit where a text stands in a file for the first time.
func spoilCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: spoil FILE TEXT")
	}
	name := ts.MkAbs(args[0])
	content, err := os.ReadFile(name)
	ts.Check(err)
	at := bytes.Index(content, []byte(args[1]))
	if at < 0 {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	content[at] ^= 1
	ts.Check(os.WriteFile(name, content, 0o600))
}
