package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// canaried are the three roles with a canary in the store's, which clients and faults reach one by one.
type canaried struct {
	*server
	args    []string
	metrics string // of the store's process
	env     []string
}

// startCanaried starts them. Where the daemons listen the store is told, as where systemd opens the ports.
func startCanaried(t *testing.T, every string) *canaried {
	t.Helper()
	cert, key := certificate(t)
	smtp, pop3s := freeAddress(t), freeAddress(t)
	c := &canaried{server: newServer(t, shapeRoles, filepath.Join(t.TempDir(), "data"))}
	c.cert = cert
	c.args = []string{
		"--data", c.data, "--log-format", "json", "--tls-cert", cert, "--tls-key", key, "--smtp", smtp, "--pop3", "off", "--pop3s", pop3s,
		"--metrics", "127.0.0.1:0", "--hostname", "localhost", "--account", alice + ":" + password, "--run", t.TempDir(),
	}
	c.env = []string{"LETTERBOX_CANARY_EVERY=" + every, "LETTERBOX_CANARY_SMTP=" + smtp, "LETTERBOX_CANARY_POP3=" + pop3s + " tls"}
	for _, role := range roles() {
		c.run(role, c.args)
	}
	c.ready("smtp", "pop3s")
	c.metrics = c.metricsOf("store")
	return c
}

// run starts one role.
func (c *canaried) run(role string, args []string) {
	c.t.Helper()
	cmd := roleCommand(c.t, role, args)
	if role == "store" {
		cmd.Env = append(cmd.Env, c.env...)
	}
	c.start(role, cmd)
}

// end ends the living process of a role.
func (c *canaried) end(role string, sig syscall.Signal) {
	c.t.Helper()
	for _, p := range c.procs {
		if p.role == role && !p.over() {
			p.cmd.Process.Signal(sig)
			<-p.done
		}
	}
}

// again ends a role and starts it with a flag changed, which comes back with undo.
func (c *canaried) again(role, flag, value string) (undo func()) {
	c.t.Helper()
	c.end(role, syscall.SIGTERM)
	changed := slices.Clone(c.args)
	changed[slices.Index(changed, flag)+1] = value
	c.run(role, changed)
	return func() {
		c.end(role, syscall.SIGTERM)
		c.run(role, c.args)
	}
}

// series are the values of a scrape.
func series(scrape []byte) map[string]float64 {
	all := map[string]float64{}
	for line := range bytes.Lines(scrape) {
		name, text, ok := strings.Cut(strings.TrimSpace(string(line)), "} ")
		if name += "}"; !ok {
			name, text, ok = strings.Cut(strings.TrimSpace(string(line)), " ")
		}
		if v, err := strconv.ParseFloat(text, 64); ok && err == nil && line[0] != '#' {
			all[name] = v
		}
	}
	return all
}

// scrapeOf is what the metrics of the store's process say.
func (c *canaried) scrapeOf() map[string]float64 {
	c.t.Helper()
	c.addr["metrics"] = c.metrics
	return series(c.scrape(c.t))
}

const (
	canaryRounds = "letterbox_canary_rounds_total"
	canaryFailed = "letterbox_canary_failed_rounds"
)

func canaryFailures(step string) string {
	return fmt.Sprintf("letterbox_canary_failures_total{step=%q}", step)
}

// flows waits until a round goes well.
func (c *canaried) flows() {
	c.t.Helper()
	began := float64(time.Now().UnixMilli()) / 1000
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		s := c.scrapeOf()
		if s["letterbox_canary_last_success_timestamp_seconds"] > began && s[canaryFailed] == 0 {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("no round goes well: %v", canarySeries(s))
		}
	}
}

// notices wants a failure of the step to be counted by the end of the second round that begins after the fault.
func (c *canaried) notices(what, step string) {
	c.t.Helper()
	before := c.scrapeOf()
	// The round that is under way now may have passed the place of the fault.
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		s := c.scrapeOf()
		switch rounds := s[canaryRounds] - before[canaryRounds]; {
		case s[canaryFailures(step)] > before[canaryFailures(step)] && s[canaryFailed] > 0:
			c.t.Logf("%s: noticed in round %.0f", what, rounds)
			return
		case rounds > 3, time.Now().After(deadline):
			c.t.Fatalf("%s: %.0f rounds later there is no failure at %s: %v", what, rounds, step, canarySeries(s))
		}
	}
}

func canarySeries(s map[string]float64) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(name, "letterbox_canary_") && !strings.Contains(name, "bucket") && s[name] != 0 {
			lines = append(lines, fmt.Sprint(name, " ", s[name]))
		}
	}
	return lines
}

// folder is that of the sockets.
func (c *canaried) folder() string { return c.args[slices.Index(c.args, "--run")+1] }

// byHand does a round by the command.
func (c *canaried) byHand() (code int, text string) {
	c.t.Helper()
	return said(c.t, letterbox(c.t, "canary", "--data", c.data, "--run", c.folder()))
}

// said runs a command to its end, and returns what it wrote.
func said(t testing.TB, cmd *exec.Cmd) (code int, text string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestCanaryNotices makes each fault in turn and wants the canary to notice it within two rounds, and to see that it is over.
func TestCanaryNotices(t *testing.T) {
	t.Parallel()
	c := startCanaried(t, "1s")
	c.flows()
	if code, text := c.byHand(); code != 0 || !strings.HasPrefix(text, "mail flows") || strings.Count(text, "\n") != 1 {
		t.Errorf("by hand: %d %s", code, text)
	}
	for _, fault := range []struct {
		what, step string
		make       func() (undo func())
	}{
		{"the SMTP listener is gone", "smtp", func() func() {
			c.end("smtpd", syscall.SIGTERM)
			return func() { c.run("smtpd", c.args) }
		}},
		{"the POP3 listener is gone", "pop3", func() func() {
			c.end("pop3d", syscall.SIGTERM)
			return func() { c.run("pop3d", c.args) }
		}},
		{"the store is away from the receiver", "deliver", func() func() { return c.again("smtpd", "--run", t.TempDir()) }},
		{"POP3 refuses logins", "login", func() func() { return c.again("pop3d", "--run", t.TempDir()) }},
		{"the certificate is expired", "certificate", func() func() {
			cert, key := certificateUntil(t, time.Now().Add(-time.Minute))
			return c.replaceCertificate(cert, key)
		}},
		{"the certificate is not valid yet", "certificate", func() func() {
			cert, key := certificateFrom(t, time.Now().Add(time.Hour))
			return c.replaceCertificate(cert, key)
		}},
	} {
		undo := fault.make()
		c.notices(fault.what, fault.step)
		code, text := c.byHand()
		if code != 1 || !strings.Contains(text, "mail does not flow: the step "+fault.step+" failed: ") || strings.Count(text, "\n") != 1 {
			t.Errorf("%s, by hand: %d %s", fault.what, code, text)
		}
		undo()
		c.flows()
	}
	c.await(func(l logLine) bool { return l.Message == "canary failed" && l.Reason != "" })
}

// replaceCertificate gives the receiver another certificate, as a renewal does.
func (c *canaried) replaceCertificate(cert, key string) (undo func()) {
	c.t.Helper()
	files := []string{c.args[slices.Index(c.args, "--tls-cert")+1], c.args[slices.Index(c.args, "--tls-key")+1]}
	var kept [][]byte
	put := func(content ...[]byte) {
		for i, text := range content {
			write(c.t, files[i], text)
		}
		n := len(c.reloads())
		c.process("smtpd").Signal(syscall.SIGHUP)
		for deadline := time.Now().Add(patience); len(c.reloads()) == n; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				c.t.Fatal("the receiver does not reload")
			}
		}
	}
	var other [][]byte
	for i, name := range []string{cert, key} {
		for at, list := range map[string]*[][]byte{files[i]: &kept, name: &other} {
			text, err := os.ReadFile(at)
			if err != nil {
				c.t.Fatal(err)
			}
			*list = append(*list, text)
		}
	}
	put(other...)
	return func() { put(kept...) }
}

// reloads are the lines of the log that end a reload.
func (c *canaried) reloads() (lines []logLine) {
	all, _ := c.log.from(0)
	for _, l := range all {
		if l.Message == "reloaded" {
			lines = append(lines, l)
		}
	}
	return lines
}
