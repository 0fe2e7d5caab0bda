package main

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunReports checks the exit status and that each kind of mistake is one sentence on standard error.
func TestRunReports(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "letterbox.toml")
	if err := os.WriteFile(file, []byte("[smtp]\nlistn = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(dir, "nowhere")
	for _, test := range []struct {
		args   string
		status int
		want   string
	}{
		{"", 2, "no command given"},
		{"frobnicate", 2, `unknown command "frobnicate"`},
		{"user", 2, "user what? One of: add, list, passwd, disable, enable, remove"},
		{"user frobnicate", 2, `user has no "frobnicate"`},
		{"--data x user list", 2, "the command comes first"},
		{"user list --frobnicate", 2, "flag provided but not defined: -frobnicate"},
		{"user add", 2, "usage: letterbox user add ADDRESS"},
		{"user add a b", 2, "usage: letterbox user add ADDRESS"},
		{"user add nobody --generate", 2, `"nobody" has no @`},
		{"user add a+b@c.example --generate", 2, "kept for tags and views"},
		{"user add a@c.example", 2, "standard input is no terminal"},
		{"user add a@c.example --generate --password-stdin", 2, "only one of"},
		{"user add a@c.example --password-hash $1$abc", 2, "password hash"},
		{"user add a@c.example --password-stdin", 2, "the password is empty"},
		{"catchall set a@b.example x@y.example", 2, "no domain name"},
		{"user list --data " + nowhere, 1, "no store at " + nowhere + " (from --data): is that its folder? letterbox serve makes a new one there"},
		{"user list", 1, "no store at " + nowhere + " (from $LETTERBOX_DATA): name the folder of one with --data"},
		{"user list --config " + file, 2, `unknown key "smtp.listn"; did you mean smtp.listen?`},
		{"health --data " + nowhere, 1, "not ready: no letterbox answers on " + nowhere},
		{"version", 0, ""},
		{"help user add", 0, ""},
		{"user add --help", 0, ""},
		{"--help", 0, ""},
	} {
		var stdout, stderr bytes.Buffer
		environ := []string{"LETTERBOX_DATA=" + nowhere}
		status := run(strings.Fields(test.args), environ, strings.NewReader(""), &stdout, &stderr)
		if status != test.status || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("letterbox %s: %d, %q", test.args, status, stderr.String())
		}
		if test.args != "" && status != 0 && strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("letterbox %s does not say one line: %q", test.args, stderr.String())
		}
		if status == 0 && stdout.Len() == 0 {
			t.Errorf("letterbox %s prints nothing", test.args)
		}
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("a command other than serve made a data folder")
	}
}

// TestFlagsAnywhere shows that flags may stand before, between and behind the arguments.
func TestFlagsAnywhere(t *testing.T) {
	for _, args := range []string{"help --nothing", "alias add --data D a@b.example c@d.example", "alias add a@b.example --data D c@d.example", "alias add a@b.example c@d.example --data D"} {
		var stdout, stderr bytes.Buffer
		run(strings.Fields(args), nil, strings.NewReader(""), &stdout, &stderr)
		want := "no store at D (from --data)"
		if strings.HasPrefix(args, "help") {
			want = "flag provided but not defined"
		}
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("letterbox %s: %q", args, stderr.String())
		}
	}
}

// TestHelpNamesEverything holds the help to the table, and each line of it to a terminal's width.
func TestHelpNamesEverything(t *testing.T) {
	var b bytes.Buffer
	printCommands(&b)
	for _, cmd := range commands() {
		if !strings.Contains(b.String(), "letterbox "+cmd.line()) {
			t.Errorf("the help leaves out %s", cmd.name)
		}
		var stdout, stderr bytes.Buffer
		if status := run([]string{"help", cmd.name}, nil, nil, &stdout, &stderr); len(strings.Fields(cmd.name)) == 1 && status != 0 {
			t.Errorf("help %s: %s", cmd.name, stderr.String())
		}
	}
	for scanner := bufio.NewScanner(&b); scanner.Scan(); {
		if len(scanner.Text()) > 132 {
			t.Errorf("%d columns: %s", len(scanner.Text()), scanner.Text())
		}
	}
}
