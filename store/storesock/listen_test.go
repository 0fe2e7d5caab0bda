package storesock

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenUnixMode(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o660} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := ListenUnix(path, mode)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%v, %v; want %v", info.Mode(), err, mode)
		}
		l.Close()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket stays behind: %v", err)
		}
	}
}

// leaveStale makes a socket on which nobody listens, as a process that was killed leaves it.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestListenUnixReplacesStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	leaveStale(t, path)
	if _, err := DialAdmin(t.Context(), path); !errors.Is(err, ErrNoOwner) {
		t.Errorf("a stale socket: %v", err)
	}
	l, err := ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = ListenUnix(path, 0o600)
	if !errors.Is(err, ErrLive) || !strings.Contains(err.Error(), path) {
		t.Errorf("a live socket: %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the live socket was unlinked: %v", err)
	}
	c.Close()
}

func TestListenUnixKeepsOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, 0o600); err == nil || !strings.Contains(err.Error(), "another file") {
		t.Errorf("%v", err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "x" {
		t.Errorf("the file: %q, %v", content, err)
	}
}

func TestListenUnixSentences(t *testing.T) {
	long := "/" + strings.Repeat("x", MaxPath)
	if _, err := ListenUnix(long, 0o600); !errors.Is(err, ErrPathTooLong) || !strings.Contains(err.Error(), "101 octets") {
		t.Errorf("%v", err)
	}
	if _, err := DialAdmin(t.Context(), long); !errors.Is(err, ErrPathTooLong) {
		t.Errorf("%v", err)
	}
	missing := filepath.Join(t.TempDir(), "no", "folder")
	if _, err := ListenUnix(missing, 0o600); err == nil || strings.Count(err.Error(), missing) != 1 {
		t.Errorf("%v", err)
	}
	if _, err := DialAdmin(t.Context(), missing); !errors.Is(err, ErrNoOwner) {
		t.Errorf("%v", err)
	}
}
