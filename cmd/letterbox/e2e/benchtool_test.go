package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"testing"
)

// TestBenchInterrupted sends SIGINT to loads of an hour: they end at once, and print what they had measured.
func TestBenchInterrupted(t *testing.T) {
	s := serve(t)
	t.Run("messages", func(t *testing.T) {
		interrupted(t, func() { s.await(func(l logLine) bool { return l.Message == "message" }) },
			"smtp", "--target", s.addr["smtp"], "--to", alice, "--messages", "0")
	})
	t.Run("logins", func(t *testing.T) {
		interrupted(t, func() { s.popSessions(2) }, "pop3", "login", "--target", s.addr["pop3"], "--user", bob)
	})
}

// interrupted runs a load, waits until the server has felt it, and interrupts it.
func interrupted(t *testing.T, underLoad func(), args ...string) {
	t.Helper()
	cmd := letterbox(t, append(append([]string{"bench"}, args...), "--time", "1h", "--json", "--pids", strconv.Itoa(os.Getpid()))...)
	cmd.Env = append(cmd.Env, "LETTERBOX_BENCH_PASSWORD="+password)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	underLoad()
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s%s", err, stdout.String(), stderr.String())
	}
	var got struct {
		Done   int
		Server struct{ Processes int }
	}
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || got.Done == 0 || got.Server.Processes == 0 {
		t.Errorf("%+v, %v of %s", got, err, stdout.String())
	}
}
