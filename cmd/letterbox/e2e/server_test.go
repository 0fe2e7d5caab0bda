package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Who mail goes to in these tests. The password is searched for in each log.
const (
	alice    = "alice@mail.example"
	bob      = "bob@mail.example"
	password = "correct-horse-0451"
	sender   = "sender@elsewhere.example"
)

// patience bounds every wait for something that must happen. It is long, since a test machine may be busy.
const patience = 2 * time.Minute

// server is one running letterbox, in whatever shape.
type server struct {
	t     testing.TB
	shape string
	procs []*proc // in the order of their start; the last is stopped first
	data  string  // its data folder
	cert  string  // its certificate, which clients trust
	log   *logLines
	addr  map[string]string // listener -> HOST:PORT
}

// proc is one process of a server.
type proc struct {
	role string // serve, store, smtpd or pop3d
	cmd  *exec.Cmd
	done chan struct{} // closed when it is over
}

// serve starts letterbox with its own data folder and all listeners on free ports of 127.0.0.1.
func serve(t testing.TB, extra ...string) *server {
	t.Helper()
	return serveData(t, filepath.Join(t.TempDir(), "data"), extra...)
}

// serveData is serve with the data folder given, which may hold a store already.
func serveData(t testing.TB, data string, extra ...string) *server {
	t.Helper()
	return serveShape(t, shape(t), data, extra...)
}

// serveShape is serveData in a given shape.
func serveShape(t testing.TB, shape, data string, extra ...string) *server {
	t.Helper()
	cert, key := certificate(t)
	args := append([]string{
		"--smtp", "127.0.0.1:0", "--smtps", "127.0.0.1:0", "--lmtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--pop3s", "127.0.0.1:0",
		"--metrics", "off", "--hostname", "localhost", "--tls-cert", cert, "--tls-key", key,
		"--account", alice + ":" + password, "--account", bob + ":" + password,
	}, extra...)
	s := launch(t, shape, data, args...)
	s.cert = cert
	s.ready("smtp", "smtps", "lmtp", "pop3", "pop3s")
	return s
}

// launch starts letterbox on data with args alone and sees to its end.
func launch(t testing.TB, shape, data string, args ...string) *server {
	t.Helper()
	args = append([]string{"--data", data, "--log-format", "json"}, args...)
	s := newServer(t, shape, data)
	switch shape {
	case shapeServe:
		s.start("serve", letterbox(t, append([]string{"serve"}, args...)...))
	case shapeSplit:
		s.start("serve", letterbox(t, append([]string{"serve", "--split"}, args...)...))
	case shapeRoles:
		for _, role := range roles() {
			s.start(role, roleCommand(t, role, args))
		}
		s.storeReady()
	}
	return s
}

// letterbox is the command with a bare environment and no configuration file.
func letterbox(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	home := t.TempDir()
	config := filepath.Join(home, "letterbox.toml")
	write(t, config, nil)
	cmd := exec.Command(os.Getenv(binaryEnv), args...)
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "LETTERBOX_CONFIG=" + config}
	return cmd
}

// begin starts cmd, collects its log, and registers the end.
func begin(t testing.TB, data string, cmd *exec.Cmd) *server {
	t.Helper()
	s := newServer(t, shapeServe, data)
	s.start("serve", cmd)
	return s
}

// newServer is a server without a process. It ends with the test.
func newServer(t testing.TB, shape, data string) *server {
	s := &server{t: t, shape: shape, data: data, log: &logLines{changed: make(chan struct{})}, addr: map[string]string{}}
	t.Cleanup(s.finish)
	return s
}

// start starts one process of s.
func (s *server) start(role string, cmd *exec.Cmd) *proc {
	s.t.Helper()
	p := &proc{role: role, cmd: cmd, done: make(chan struct{})}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		s.log.collect(stderr)
		cmd.Wait()
		close(p.done)
	}()
	s.procs = append(s.procs, p)
	return p
}

// finish stops s, where the test did not, and looks at what it left in the log.
func (s *server) finish() {
	if !s.over() {
		s.terminate()
	}
	text := s.log.String()
	for _, bad := range []string{"DATA RACE", "panic", "goroutine ", password} {
		if strings.Contains(text, bad) {
			s.t.Errorf("the log holds %q", bad)
		}
	}
	if s.t.Failed() {
		s.t.Logf("log of letterbox (%s):\n%s", s.shape, s.log.tail(16<<10))
	}
}

func (p *proc) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (s *server) over() bool {
	return !slices.ContainsFunc(s.procs, func(p *proc) bool { return !p.over() })
}

// terminate sends SIGTERM and wants exit code 0 within the 30 s that are promised.
func (s *server) terminate() {
	s.t.Helper()
	s.signal()
	s.waitExit(30 * time.Second)
}

// signal sends SIGTERM: to the daemons at once, and to the store of three processes once they are gone.
func (s *server) signal() {
	for _, p := range s.procs {
		if p.role != "store" {
			p.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	go func() {
		for _, p := range s.procs {
			if p.role != "store" {
				<-p.done
			}
		}
		for _, p := range s.procs {
			if p.role == "store" {
				p.cmd.Process.Signal(syscall.SIGTERM)
			}
		}
	}()
}

// waitExit waits for the end after a SIGTERM.
func (s *server) waitExit(limit time.Duration) {
	s.t.Helper()
	deadline := time.After(limit)
	for _, p := range s.procs {
		select {
		case <-p.done:
		case <-deadline:
			s.t.Errorf("%s did not stop within %s", p.role, limit)
			s.kill()
		}
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			s.t.Errorf("%s: exit code %d after SIGTERM", p.role, code)
		}
	}
}

// kill is kill -9 of every process.
func (s *server) kill() {
	for _, p := range s.procs {
		p.cmd.Process.Kill()
	}
	if s.shape == shapeSplit {
		for _, role := range roles() { // the supervisor is dead already and starts none anew
			s.childProcess(role).Kill()
		}
	}
	for _, p := range s.procs {
		<-p.done
	}
}

// ready waits until every listener of names listens.
func (s *server) ready(names ...string) {
	s.t.Helper()
	for _, name := range names {
		line := s.await(func(l logLine) bool { return l.Message == "listening" && l.Listener == name })
		s.addr[name] = line.Addr
	}
}

// metricsOf returns where the process that plays a role serves its metrics.
func (s *server) metricsOf(role string) string {
	s.t.Helper()
	return s.await(func(l logLine) bool {
		return l.Message == "listening" && l.Listener == "metrics" && (l.Role == role || s.shape == shapeServe)
	}).Addr
}

// storeReady waits until the store's own process answers.
func (s *server) storeReady() {
	s.t.Helper()
	s.await(func(l logLine) bool { return l.Message == "ready" && l.Role == "store" })
}

// await returns the first line of the log that fits, and fails the test if s ends or patience is over before.
func (s *server) await(fits func(logLine) bool) logLine {
	s.t.Helper()
	deadline := time.After(patience)
	for next := 0; ; {
		lines, changed := s.log.from(next)
		for _, l := range lines {
			if fits(l) {
				return l
			}
		}
		next += len(lines)
		select {
		case <-changed:
		case <-s.ended():
			if more, _ := s.log.from(next); len(more) == 0 {
				s.t.Fatal("letterbox ended")
			}
		case <-deadline:
			s.t.Fatal("waited in vain for a line of the log")
		}
	}
}

// ended is closed when the first process of s is over.
func (s *server) ended() <-chan struct{} {
	for _, p := range s.procs {
		if p.over() {
			return p.done
		}
	}
	return s.procs[len(s.procs)-1].done
}

// logLine is what the tests read of one line of the log.
type logLine struct {
	Level, Message, Role, Listener, Addr, Remote, Reason string

	Code int
	Of   string // of the supervisor: the role whose process it is about
	Pid  int
}

// logLines is what a server wrote to its standard error.
type logLines struct {
	mu      sync.Mutex
	text    bytes.Buffer
	lines   []logLine
	changed chan struct{} // closed and replaced at each line
}

func (l *logLines) collect(r io.Reader) {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadBytes('\n')
		l.add(line)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.add([]byte(err.Error()))
			}
			return
		}
	}
}

func (l *logLines) add(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(line)
	var parsed logLine
	if json.Unmarshal(line, &parsed) != nil {
		return // a line for people, as the generated password
	}
	l.lines = append(l.lines, parsed)
	close(l.changed)
	l.changed = make(chan struct{})
}

// from returns the lines from number n on, and a channel that closes when there are more.
func (l *logLines) from(n int) ([]logLine, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[n:len(l.lines):len(l.lines)], l.changed
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// tail returns the last octets of the log, for the report of a failed test.
func (l *logLines) tail(octets int) string {
	s := l.String()
	if len(s) <= octets {
		return s
	}
	return "…" + s[len(s)-octets:]
}
