package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCapabilities traces smtpd and pop3d from their first moment on while mail goes in and out: neither opens a file of the
// store, nor holds one.
func TestCapabilities(t *testing.T) {
	need(t, "strace")
	data, run := filepath.Join(t.TempDir(), "data"), t.TempDir()
	cert, key := certificate(t)
	args := append([]string{"--data", data, "--run", run, "--log-format", "json", "--tls-cert", cert, "--tls-key", key,
		"--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--pop3s", "off", "--metrics", "off"}, floodArgs()...)
	s := newServer(t, shapeRoles, data)
	s.start("store", roleCommand(t, "store", args))
	s.storeReady()
	traces := map[string]string{}
	for _, role := range []string{"smtpd", "pop3d"} {
		traces[role] = filepath.Join(t.TempDir(), role)
		cmd := roleCommand(t, role, args)
		// -D: the daemon is our child, and the tracer its grandchild.
		cmd.Args = append([]string{"strace", "-D", "-f", "-qq", "-e", "trace=open,openat,openat2,creat", "-o", traces[role]}, cmd.Args...)
		path, err := exec.LookPath("strace")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path = path
		s.start(role, cmd)
	}
	s.ready("smtp", "pop3")
	f := newFlood(5, 200)
	f.run(s.addr["smtp"])
	f.noFailure(t)
	f.check(t, drainFlood(t, s))
	for role := range traces {
		holdsNone(t, s.process(role).Pid, data)
	}
	s.terminate()
	for role, trace := range traces {
		text, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), cert) {
			t.Errorf("the trace of %s does not even show its certificate", role)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, data) {
				t.Errorf("%s: %s", role, line)
			}
		}
	}
}

// holdsNone looks at the descriptors of a process.
func holdsNone(t *testing.T, pid int, data string) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(links) == 0 {
		t.Fatalf("no descriptors of %d: %v", pid, err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, data) {
			t.Errorf("process %d holds %s", pid, target)
		}
	}
}
