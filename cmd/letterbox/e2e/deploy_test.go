package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemdUnit lets systemd judge the unit: it is well formed, and its exposure is at most 2.0 of 10.
func TestSystemdUnit(t *testing.T) {
	need(t, "systemd-analyze")
	unit, err := os.ReadFile("../../../deploy/systemd/letterbox.service")
	if err != nil {
		t.Fatal(err)
	}
	// verify wants the program to be there.
	const installed = "/usr/local/bin/letterbox"
	if !strings.Contains(string(unit), "ExecStart="+installed+" serve\n") {
		t.Fatalf("the unit does not start %s", installed)
	}
	here := write(t, filepath.Join(t.TempDir(), "letterbox.service"), []byte(strings.ReplaceAll(string(unit), installed, os.Getenv(binaryEnv))))
	for _, args := range [][]string{
		{"verify", "--man=no", here},
		{"security", "--offline=true", "--no-pager", "--threshold=20", here},
	} {
		cmd := exec.Command("systemd-analyze", args...)
		out, err := cmd.CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("%s: %v\n%s", cmd, err, out)
		}
	}
}

// TestSystemdConfiguration lets letterbox judge the configuration that belongs to the unit.
func TestSystemdConfiguration(t *testing.T) {
	file, err := filepath.Abs("../../../deploy/systemd/letterbox.toml")
	if err != nil {
		t.Fatal(err)
	}
	if code, text := exit(t, letterbox(t, "config", "check", "--config", file)); code != 0 || text != "" {
		t.Errorf("exit code %d: %s", code, text)
	}
}
