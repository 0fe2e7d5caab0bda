package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRunAs starts serve --split as root on a data folder that is not there: the sockets are opened by root, the folder belongs
// to the user, and the supervisor and the three processes are that user with no other group.
func TestRunAs(t *testing.T) {
	if os.Geteuid() != 0 {
		unable(t, "this test wants root")
	}
	const user = 65532
	// Not t.TempDir: only its own user can enter that.
	dir, err := os.MkdirTemp("", "letterbox-runas-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data, lmtp := filepath.Join(dir, "data"), filepath.Join(dir, "lmtp")
	if err := errors.Join(os.Mkdir(lmtp, 0o755), os.Chown(lmtp, user, user)); err != nil {
		t.Fatal(err)
	}
	lmtp = filepath.Join(lmtp, "sock")
	cmd := letterbox(t, "serve", "--split", "--run-as", fmt.Sprintf("%d:%d", user, user), "--data", data, "--log-format", "json",
		"--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--pop3s", "off", "--metrics", "off", "--lmtp", "unix:"+lmtp,
		"--account", alice+":"+password)
	cmd.Dir = "/"
	cmd.Env = []string{"LETTERBOX_CONFIG=/dev/null"}
	s := newServer(t, shapeSplit, data)
	s.start("serve", cmd)
	s.ready("smtp", "pop3", "lmtp")
	if info, err := os.Stat(lmtp); err != nil || info.Sys().(*syscall.Stat_t).Uid != user {
		t.Errorf("the unix socket is not the user's: %v, %+v", err, info)
	}
	pids := []int{cmd.Process.Pid}
	for _, role := range roles() {
		pids = append(pids, s.childProcess(role).Pid)
	}
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532\n", "Gid:\t65532\t65532\t65532\t65532\n", "Groups:\t65532 \n", "CapEff:\t0000000000000000\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("process %d lacks %q:\n%s", pid, want, status)
			}
		}
	}
	info, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != user || stat.Gid != user || info.Mode().Perm() != 0o700 {
		t.Errorf("the data folder is of %d:%d, %s", stat.Uid, stat.Gid, info.Mode())
	}
	id := put(t, s, []byte(header), alice)
	if got := drain(t, s, alice); len(got) != 1 || got[0].uidl != id {
		t.Errorf("want the message %s, got %d", id, len(got))
	}
}
