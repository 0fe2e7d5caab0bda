package e2e

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBadInput starts the binary with what an operator gets wrong: each time it says one clear sentence and exits with 2.
func TestBadInput(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	running := serve(t)
	cert, key := certificate(t)
	garbage := write(t, filepath.Join(t.TempDir(), "garbage.pem"), []byte("no certificate\n"))
	file := write(t, filepath.Join(t.TempDir(), "file"), []byte("a file\n"))
	unknown := write(t, filepath.Join(t.TempDir(), "letterbox.toml"), []byte("[smtp]\nlissten = \"localhost:2525\"\n"))
	none := filepath.Join(t.TempDir(), "none.pem")
	deep := "/tmp/" + strings.Repeat("d", 100) + "/smtp"
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"second serve on the same data", []string{"--data", running.data}, []string{running.data}},
		{"port in use", []string{"--smtp", busy.Addr().String()}, []string{busy.Addr().String(), "another program"}},
		{"unknown key", []string{"--config", unknown}, []string{unknown, "lissten", "listen"}},
		{"unknown flag", []string{"--smpt", "127.0.0.1:0"}, []string{"smpt"}},
		{"unknown word", []string{"--smtp", "127.0.0.1:0 tsl"}, []string{"tsl"}},
		{"no such certificate", []string{"--tls-cert", none, "--tls-key", key}, []string{none}},
		{"certificate that is none", []string{"--tls-cert", garbage, "--tls-key", key}, []string{garbage}},
		{"key of another certificate", []string{"--tls-cert", cert, "--tls-key", filepath.Join(filepath.Dir(running.cert), "key.pem")}, []string{"key"}},
		{"certificate without a key", []string{"--tls-cert", cert}, []string{"tls.key"}},
		{"data folder is a file", []string{"--data", file}, []string{file}},
		{"socket path over 100 bytes", []string{"--smtp", "unix:" + deep}, []string{deep}},
		{"size that is none", []string{"--max-message-bytes", "many"}, []string{"many"}},
		{"account that is no address", []string{"--account", "me"}, []string{"me"}},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, c.args, c.says) })
	}
	t.Run("data folder is read-only", func(t *testing.T) {
		dir := t.TempDir()
		readOnly(t, dir)
		refused(t, []string{"--data", dir}, []string{dir})
	})
	// The one that was running is none the worse.
	put(t, running, []byte(header), alice)
}

// refused runs serve with args on top of harmless ones, and wants exit 2 and one sentence that holds each of says.
func refused(t *testing.T, args, says []string) {
	t.Helper()
	harmless := []string{
		"serve", "--data", filepath.Join(t.TempDir(), "data"), "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--pop3s", "off", "--metrics", "off",
	}
	cmd := letterbox(t, append(harmless, args...)...)
	code, text := exit(t, cmd)
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	var sentences []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "{") { // else a line of the log
			sentences = append(sentences, line)
		}
	}
	if len(sentences) != 1 || len(sentences[0]) > 600 {
		t.Errorf("want one sentence, got:\n%s", text)
	}
	text = strings.Join(sentences, "")
	for _, word := range says {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
}

// exit runs cmd to its end and returns its code and what it wrote to standard error.
func exit(t *testing.T, cmd *exec.Cmd) (code int, text string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	var failed *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// TestNoStore runs the operator's commands where there is no store: they make none.
func TestNoStore(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for _, args := range [][]string{{"user", "list"}, {"alias", "list"}, {"user", "add", alice, "--generate"}, {"catchall", "list"}} {
		cmd := letterbox(t, append(args, "--data", data)...)
		code, text := exit(t, cmd)
		want := "no store at " + data + " (from --data): is that its folder?"
		if code == 0 || !strings.Contains(text, want) {
			t.Errorf("%v: exit code %d, %q, want %q", args, code, text, want)
		}
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was made (%v)", data, err)
	}
}
