package probe

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestHealth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.sock")
	if err := Health(t.Context(), path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with no socket: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	reason := ""
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/readyz":
			http.NotFound(w, r)
		case reason != "":
			http.Error(w, reason, http.StatusServiceUnavailable)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})

	if err := Health(t.Context(), path); err != nil {
		t.Errorf("ready: %v", err)
	}
	reason = "no account yet"
	if err := Health(t.Context(), path); err == nil || err.Error() != reason {
		t.Errorf("not ready: %v", err)
	}
	reason = strings.Repeat("x", 1<<20)
	if err := Health(t.Context(), path); err == nil || len(err.Error()) > maxAnswer {
		t.Error("an endless answer was taken whole")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Health(ended, path); err == nil {
		t.Error("an answer after the end")
	}
}

func TestDeniedIsNotTakenForAbsent(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
	err := dialError("/data/health.sock", refused)
	if !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
	if text := err.Error(); !strings.HasPrefix(text, "/data/health.sock ") || !strings.Contains(text, "owner of the data folder") {
		t.Errorf("%q", text)
	}
}
