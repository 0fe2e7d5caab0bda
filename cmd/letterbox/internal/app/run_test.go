package app

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/letterbox/cmd/letterbox/internal/config"
)

// TestRunFolder holds the default of the folder of the sockets: the machine's only where it is there, is of the same owner and
// serves this very store.
func TestRunFolder(t *testing.T) {
	dir := t.TempDir()
	system, data, other := filepath.Join(dir, "run"), filepath.Join(dir, "data"), filepath.Join(dir, "other")
	for _, folder := range []string{data, other} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c, second := &config.Config{Data: data}, &config.Config{Data: other}
	want := func(c *config.Config, folder string) {
		t.Helper()
		if got := runFolder(c, system); got != folder {
			t.Errorf("the sockets of %s are in %s, want %s", c.Data, got, folder)
		}
	}
	want(c, data) // there is no such folder
	if err := os.Mkdir(system, 0o755); err != nil {
		t.Fatal(err)
	}
	want(c, system)
	want(&config.Config{Data: filepath.Join(dir, "unseen")}, system)
	for range 2 { // a process that starts again claims it again
		if !claim(system, data) {
			t.Error("the folder can't be claimed")
		}
	}
	want(c, system)
	want(second, other)
	want(&config.Config{Data: filepath.Join(dir, "mistyped")}, filepath.Join(dir, "mistyped"))
	if claim(system, other) {
		t.Error("a second store claimed the folder of the first")
	}
	want(&config.Config{Data: other, Run: system}, system) // as configured
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	want(second, system) // the first is gone
	if !claim(system, other) {
		t.Error("the folder of a store that is gone can't be claimed")
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(system, 65532, 65532); err != nil {
			t.Fatal(err)
		}
		want(second, other) // it belongs to somebody else
	}
}

// TestLookup reads names and numbers.
func TestLookup(t *testing.T) {
	for name, want := range map[string]identity{
		"65111:65222":  {65111, 65222, []int{65222}},
		"daemon:65222": {1, 65222, []int{65222}},
		"1:1":          {1, 1, []int{1}},
	} {
		if got, err := lookup(name); err != nil || got.uid != want.uid || got.gid != want.gid || !slices.Equal(got.groups, want.groups) {
			t.Errorf("%s is %+v (%v), want %+v", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"nosuchuser": "no user", "65111": "goes with a group", "1:nosuchgroup": "no group", "root": "than root", "4294967296:1": "", "1:4294967295": "no group", "0:0": "than root", "": "no user", "-5:1": "no user",
	} {
		if got, err := lookup(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v; want an error with %q", name, got, err, want)
		}
	}
}

// TestRunAsWantsTheOwner refuses a data folder of somebody else's, and leaves the process who it was.
func TestRunAsWantsTheOwner(t *testing.T) {
	err := becomeUser("65111:65111", t.TempDir(), "--data")
	want := "belongs to uid 0"
	if os.Geteuid() != 0 {
		want = "needs root"
	}
	if input := (*InputError)(nil); !errors.As(err, &input) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestDaemonsGetNoPasswords holds the keys that a role's process is given.
func TestDaemonsGetNoPasswords(t *testing.T) {
	for _, k := range config.Keys() {
		if k.Secret && (SMTPD.Uses(k) || POP3D.Uses(k) || !Store.Uses(k)) {
			t.Errorf("%s goes to a daemon, or not to the store", k.Name)
		}
		if !slices.ContainsFunc(append(Split(), Serve), func(r Role) bool { return r.Uses(k) }) {
			t.Errorf("no role uses %s", k.Name)
		}
	}
	s := &supervisor{SplitOptions: SplitOptions{
		Environ: []string{"LETTERBOX_ACCOUNTS_CREATE=a@b.example:secret", "NOTIFY_SOCKET=/run/x", "LISTEN_FDS=1", "PATH=/bin"},
		Args:    func(Role) []string { return nil },
	}}
	if env := s.command(t.Context(), SMTPD).Env; !slices.Equal(env, []string{"PATH=/bin"}) {
		t.Errorf("smtpd gets %q", env)
	}
	if env := s.command(t.Context(), Store).Env; len(env) != 2 {
		t.Errorf("store gets %q", env)
	}
}
