package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// block returns the shell block of the README that stands below the marker <!-- test: name -->.
func block(t *testing.T, name string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)<!-- test: " + name + " -->\n+```sh\n(.*?)```").FindStringSubmatch(readme(t))
	if found == nil {
		t.Fatalf("README.md has no block %q", name)
	}
	return found[1]
}

// TestREADME does what the README tells a newcomer: start, send, fetch and delete. Only the ports are others.
func TestREADME(t *testing.T) {
	need(t, "curl")
	start := strings.Fields(block(t, "start"))
	if got := strings.Join(start[:3], " "); got != "go run ./cmd/letterbox" {
		t.Fatalf("the start is %q", got)
	}
	data := filepath.Join(t.TempDir(), "data")
	args := append(start[3:], "--data", data, "--log-format", "json",
		"--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--pop3s", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	cmd := letterbox(t, args...)
	stdout, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	cmd.Stdout = stdout
	s := begin(t, data, cmd)
	s.ready("smtp", "pop3", "pop3s", "metrics")

	replace := strings.NewReplacer("localhost:2525", s.addr["smtp"], "localhost:2110", s.addr["pop3"], "localhost:2995", s.addr["pop3s"],
		"localhost:9725", s.addr["metrics"], "PASSWORD", printedPassword(t, stdout.Name()))
	shell := func(name string) string {
		t.Helper()
		out, err := exec.Command("sh", "-euc", replace.Replace(block(t, name))).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	shell("send")
	if got := shell("fetch"); !strings.Contains(got, "Subject: Hello\r\n") || !strings.Contains(got, "\r\n\r\nIt works.\r\n") {
		t.Errorf("fetched:\n%s", got)
	}
	if got := shell("metrics"); !strings.Contains(got, "letterbox_build_info") {
		t.Errorf("metrics:\n%s", got)
	}
	shell("delete")
	if got := shell("list"); strings.TrimSpace(got) != "" {
		t.Errorf("left:\n%s", got)
	}
}

// printedPassword reads the password that serve made up.
func printedPassword(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`me@localhost.*: (\S+)\n`).FindSubmatch(b)
	if found == nil {
		t.Fatalf("no password in %q", b)
	}
	return string(found[1])
}

// TestREADMEReference holds the README's configuration reference against the program's.
func TestREADMEReference(t *testing.T) {
	out, err := letterbox(t, "config", "reference").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(readme(t), "<!-- reference:begin -->\n")
	got, _, found := strings.Cut(rest, "<!-- reference:end -->")
	if !found || strings.TrimSpace(got) != strings.TrimSpace(string(out)) {
		t.Errorf("the reference in README.md is stale: put what `letterbox config reference` prints between its markers")
	}
}

// TestREADMECommands wants every command in the README as the help has it.
func TestREADMECommands(t *testing.T) {
	out, err := letterbox(t, "help").Output()
	if err != nil {
		t.Fatal(err)
	}
	text := readme(t)
	commands := regexp.MustCompile(`(?m)^  (letterbox .*)$`).FindAllStringSubmatch(string(out), -1)
	if len(commands) < 10 {
		t.Fatalf("found %d commands in:\n%s", len(commands), out)
	}
	for _, c := range commands {
		if !strings.Contains(text, c[1]) {
			t.Errorf("README.md lacks %q", c[1])
		}
	}
}
