package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestSupervisorKilled kills the supervisor alone with kill -9: its three processes end by themselves, and the folder is free.
func TestSupervisorKilled(t *testing.T) {
	t.Parallel()
	s := serveShape(t, shapeSplit, filepath.Join(t.TempDir(), "data"))
	put(t, s, []byte(header), alice)
	s.procs[0].cmd.Process.Kill()
	deadline := time.Now().Add(patience)
	for _, role := range roles() {
		for s.childProcess(role).Signal(syscall.Signal(0)) == nil {
			if time.Now().After(deadline) {
				t.Fatalf("%s lives on", role)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	again := serveData(t, s.data)
	if got := drain(t, again, alice); len(got) != 1 {
		t.Errorf("want one message, got %d", len(got))
	}
}

// TestOrphan starts a process whose supervisor ended before it could look: it makes nothing, and ends.
func TestOrphan(t *testing.T) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "supervisor")
	defer theirs.Close()
	syscall.Close(ends[0])
	data := filepath.Join(t.TempDir(), "data")
	cmd := letterbox(t, "store", "--data", data, "--metrics", "off", "--log-format", "json")
	cmd.Env = append(cmd.Env, "LISTEN_PPID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=supervisor")
	cmd.ExtraFiles = []*os.File{theirs}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, &log)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("it made a data folder")
	}
}
