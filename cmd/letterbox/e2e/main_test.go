package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaryEnv names the binary under test; TestMain sets it where nobody did.
const binaryEnv = "LETTERBOX_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if messages := os.Getenv(echoEnv); messages != "" {
		if err := echo(messages); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	if os.Getenv(binaryEnv) != "" || flag.Lookup("test.list").Value.String() != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "letterbox-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Another user (the container's) must reach the binary.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	path := filepath.Join(dir, "letterbox")
	if err := build(path, nil, buildFlags()...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv(binaryEnv, path)
	return m.Run()
}

// build makes the binary at path, with env added to the environment.
func build(path string, env []string, flags ...string) error {
	args := append([]string{"build", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "example.org/letterbox/cmd/letterbox")...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// long tells whether the long forms of the tests are wanted.
func long() bool { return os.Getenv("LETTERBOX_LONG") == "1" }

// unable ends a test that this machine can't run: it is skipped, but in CI it fails.
func unable(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// need ends the test unless every program of names is installed.
func need(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			unable(t, "%s is not installed", name)
		}
	}
}

// needPerl ends the test unless perl finds these modules.
func needPerl(t *testing.T, modules ...string) {
	t.Helper()
	need(t, "perl")
	for _, module := range modules {
		if err := exec.Command("perl", "-M"+module, "-e", "1").Run(); err != nil {
			unable(t, "perl has no %s", module)
		}
	}
}

func write(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
