package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemdUnit lets systemd judge the units: they are well formed, also with the drop-in for containers, and of 10 the
// exposure is at most 2.0, and 1.5 of the two services that face the internet.
func TestSystemdUnit(t *testing.T) {
	need(t, "systemd-analyze")
	folder := t.TempDir()
	threshold := map[string]string{
		"letterbox.service": "20", "letterbox-store.service": "20", "letterbox-smtpd.service": "15", "letterbox-pop3d.service": "15",
	}
	units := installUnits(t, folder)
	systemd(t, folder, append([]string{"verify", "--man=no"}, units...)...)
	for name, most := range threshold {
		systemd(t, folder, "security", "--offline=true", "--no-pager", "--threshold="+most, filepath.Join(folder, name))
	}
	dropIn, err := os.ReadFile(filepath.Join(systemdFolder, "lxc.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range threshold {
		if err := os.Mkdir(filepath.Join(folder, name+".d"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name+".d", "lxc.conf"), dropIn)
	}
	systemd(t, folder, append([]string{"verify", "--man=no"}, units...)...)
}

const systemdFolder = repository + "/deploy/systemd"

// installUnits copies the units with the path of the binary under test, since verify wants the program to be there, and
// returns their paths. Every service starts letterbox, and every socket belongs to one of them.
func installUnits(t *testing.T, folder string) (units []string) {
	t.Helper()
	const installed = "/usr/local/bin/letterbox"
	services, _ := filepath.Glob(filepath.Join(systemdFolder, "*.service"))
	sockets, _ := filepath.Glob(filepath.Join(systemdFolder, "*.socket"))
	files := append(services, sockets...)
	if len(services) < 4 || len(sockets) < 4 {
		t.Fatalf("found only %v", files)
	}
	for _, file := range files {
		unit, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".service") && !strings.Contains(string(unit), "ExecStart="+installed+" ") {
			t.Fatalf("%s does not start %s", file, installed)
		}
		path := filepath.Join(folder, filepath.Base(file))
		units = append(units, write(t, path, []byte(strings.ReplaceAll(string(unit), installed, os.Getenv(binaryEnv)))))
	}
	return units
}

// systemd runs systemd-analyze, which has to be content, and to be silent when it verifies.
func systemd(t *testing.T, folder string, args ...string) {
	t.Helper()
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	if err != nil || args[0] == "verify" && len(out) > 0 {
		t.Errorf("%s: %v\n%s", cmd, err, out)
	}
}

// TestSystemdLetsUsSync: each unit's filter of system calls lets through those by which the log's fdatasync runs beside the
// rest (store/vfs Syncer). Without them it would hold up others, and nobody would be told.
func TestSystemdLetsUsSync(t *testing.T) {
	need(t, "systemd-analyze")
	units, err := filepath.Glob(filepath.Join(systemdFolder, "*.service"))
	if err != nil || len(units) == 0 {
		t.Fatal("no units", err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		let := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			if groups, ok := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter="); ok {
				forbidden := strings.HasPrefix(groups, "~")
				for _, call := range systemCalls(t, strings.Fields(strings.TrimPrefix(groups, "~"))...) {
					let[call] = !forbidden
				}
			}
		}
		for _, call := range []string{"io_setup", "io_submit", "io_getevents", "io_destroy", "eventfd2", "fdatasync"} {
			if !let[call] {
				t.Errorf("%s forbids %s", filepath.Base(unit), call)
			}
		}
	}
}

// systemCalls returns the system calls that systemd counts among these names and groups.
func systemCalls(t *testing.T, names ...string) (all []string) {
	t.Helper()
	for _, name := range names {
		if !strings.HasPrefix(name, "@") {
			all = append(all, name)
			continue
		}
		out, err := exec.Command("systemd-analyze", "syscall-filter", "--no-pager", name).Output()
		if err != nil {
			t.Fatal(name, err)
		}
		for line := range strings.Lines(string(out)) {
			if word := strings.TrimSpace(line); word != name && word != "" && word[0] != '#' {
				all = append(all, systemCalls(t, word)...)
			}
		}
	}
	return all
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

// TestRolesStartAgain: no role reaches systemd's limit of starts, five in 10 s, behind which it and its sockets stay down.
func TestRolesStartAgain(t *testing.T) {
	for _, role := range roles() {
		unit, err := os.ReadFile(filepath.Join(systemdFolder, "letterbox-"+role+".service"))
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(unit), "[Service]")
		if !strings.Contains(head, "\nStartLimitIntervalSec=0\n") {
			t.Errorf("%s stays down after a few ends", role)
		}
	}
}

// TestComposeRunIsSticky: the daemons make their health sockets in the folder in which those of the store are, and replace none.
func TestComposeRunIsSticky(t *testing.T) {
	compose, err := os.ReadFile(repository + "/deploy/compose.split.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(compose), ",mode=1770\"") {
		t.Error("a daemon may take the place of another's socket")
	}
}
