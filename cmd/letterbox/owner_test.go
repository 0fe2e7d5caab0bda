package main

import (
	"bufio"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRootTakesOnOwner shows that commands typed by root leave nothing in the data folder that its owner can't write, be the
// daemon up or down.
func TestRootTakesOnOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can take on another user")
	}
	t.Setenv("GORACE", "atexit_sleep_ms=10") // as in TestScript
	const owner = 65532
	// Not t.TempDir: only its own user can enter that.
	dir, err := os.MkdirTemp("", "letterbox-owner")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data, private := filepath.Join(dir, "data"), filepath.Join(dir, "private")
	for _, err := range []error{os.Chmod(dir, 0o755), os.Mkdir(data, 0o700), os.Chown(data, owner, owner), os.Mkdir(private, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	command := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("letterbox", append(args, "--data", data)...).CombinedOutput(); err != nil {
			t.Errorf("letterbox %v: %v\n%s", args, err, out)
		}
	}

	daemon := exec.Command("letterbox", "serve", "--data", data, "--smtp", "127.0.0.1:0", "--pop3", "off", "--pop3s", "off", "--metrics", "off", "--log-format", "json")
	stderr, err := daemon.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), `"message":"ready"`) {
	}
	command("user", "add", "up@example.org", "--generate")
	command("backup", filepath.Join(private, "up.backup")) // where only root may write
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // until it closes the pipe
	}
	if err := daemon.Wait(); err != nil {
		t.Errorf("serve: %v", err)
	}
	command("user", "add", "down@example.org", "--generate")
	command("backup", filepath.Join(private, "down.backup"))
	if left, err := os.ReadDir(private); err != nil || len(left) != 2 {
		t.Errorf("the folder of the backups holds %v (%v)", left, err)
	}

	err = filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != owner || stat.Gid != owner {
			t.Errorf("%s belongs to %d:%d", path, stat.Uid, stat.Gid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
