package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// killBounds are how many messages, how many kills, and how late each comes at most.
func killBounds() (messages, rounds int, bound time.Duration) {
	if long() {
		return 600, 25, 500 * time.Millisecond
	}
	return 80, 3, 120 * time.Millisecond
}

func uidls(got []fetched) (all []string) {
	for _, f := range got {
		all = append(all, f.uidl)
	}
	return all
}

// TestUndeleteKill9 kills the owner of the store while it files deleted mail again, and the command where there is no daemon:
// in the end each message is there once, under a new UIDL.
func TestUndeleteKill9(t *testing.T) {
	t.Parallel()
	n, rounds, bound := killBounds()
	config := write(t, filepath.Join(t.TempDir(), "config"), []byte("[retention]\nundelete_for = \"7d\"\n"))
	dir := filepath.Join(t.TempDir(), "Maildir")
	maildirOf(t, dir, n)
	s := serve(t, "--config", config)
	s.move("import", "maildir", dir, "--to", alice)
	was := drain(t, s, alice)
	for range rounds {
		cmd := letterbox(t, "undelete", alice, "--data", s.data)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(bound))
		s.kill()
		cmd.Process.Kill()
		cmd.Wait()
		s = serveData(t, s.data, "--config", config)
	}
	s.terminate()
	s.broken(rounds, bound, "undelete", alice)
	t.Log(s.move("undelete", alice))
	if out := s.move("undelete", alice); out != "0 messages of "+alice+" are back\n" {
		t.Errorf("once more: %s", out)
	}
	s = serveData(t, s.data, "--config", config)
	got := drain(t, s, alice)
	wanted, have := bodies(was), bodies(got)
	slices.Sort(wanted)
	slices.Sort(have)
	if !slices.Equal(have, wanted) {
		t.Errorf("%d messages came back, or others than the %d that were deleted", len(got), len(was))
	}
	both := append(uidls(was), uidls(got)...)
	slices.Sort(both)
	if len(slices.Compact(both)) != len(was)+len(got) {
		t.Error("a UIDL was used twice")
	}
}

// restored makes a store of a backup, which has to be whole, and returns its folder.
func restored(t *testing.T, file string, messages int) (data string) {
	t.Helper()
	into := &server{t: t, data: filepath.Join(t.TempDir(), "restored")}
	if out := into.move("restore", file); !strings.HasPrefix(out, fmt.Sprintf("%d messages, %d entries restored", messages, messages)) {
		t.Errorf("%s: %s", file, out)
	}
	return into.data
}

// TestBackupKill9 kills backups, beside a daemon and without one, and restores: no file has its name before it is whole, no
// folder is a store before it is, and what is in the end has every message once, under its UIDL.
func TestBackupKill9(t *testing.T) {
	t.Parallel()
	n, rounds, bound := killBounds()
	dir, file := filepath.Join(t.TempDir(), "Maildir"), filepath.Join(t.TempDir(), "backup")
	maildirOf(t, dir, n)
	s := serve(t)
	s.move("import", "maildir", dir, "--to", alice)
	breaks := func() {
		for range rounds {
			s.broken(1, bound, "backup", file)
			if _, err := os.Lstat(file); err == nil {
				restored(t, file, n)
				os.Remove(file)
			}
		}
		if out := s.move("backup", file); !strings.HasPrefix(out, fmt.Sprintf("%d messages", n)) {
			t.Error(out)
		}
		if _, err := os.Lstat(file + ".unfinished"); err == nil {
			t.Error("an unfinished file is left behind a whole backup")
		}
	}
	breaks()
	want := drain(t, s, alice)
	s.terminate()
	s = &server{t: t, data: restored(t, file, n)}
	os.Remove(file)
	breaks()

	into := &server{t: t, data: filepath.Join(t.TempDir(), "again")}
	into.broken(rounds, bound, "restore", file)
	if _, err := os.Stat(filepath.Join(into.data, "identity")); err != nil {
		t.Log(into.move("restore", file))
	}
	if out := into.move("verify"); !strings.Contains(out, fmt.Sprintf("%d messages, %d entries", n, n)) {
		t.Error(out)
	}
	s = serveData(t, into.data)
	got := drain(t, s, alice)
	if !slices.Equal(bodies(got), bodies(want)) || !slices.Equal(uidls(got), uidls(want)) {
		t.Errorf("%d messages came back, or others, or under other UIDLs than the %d", len(got), len(want))
	}
}

// TestBackupsKill9 kills the daemon while it makes a backup by itself: none has its name before it is whole, and the next
// process clears away what was left.
func TestBackupsKill9(t *testing.T) {
	t.Parallel()
	_, rounds, bound := killBounds()
	const n = 6
	to, dir := t.TempDir(), filepath.Join(t.TempDir(), "Maildir")
	config := write(t, filepath.Join(t.TempDir(), "config"), fmt.Appendf(nil, "[backup]\nto = %q\nkeep = 1\n", to))
	for i := range n {
		raw := fmt.Appendf(nil, "Subject: %d\n\n%s", i, strings.Repeat("a line of a large message\n", 200_000))
		write(t, filepath.Join(made(t, dir), "cur", fmt.Sprintf("%d.M%d.host:2,S", 1_600_000_000+i, i)), raw)
	}
	s := serve(t)
	s.move("import", "maildir", dir, "--to", alice)
	s.terminate()
	whole := func() (count int) {
		files, err := filepath.Glob(filepath.Join(to, "letterbox-*.backup"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			restored(t, file, n)
			os.Remove(file) // so that the next process makes one at once
		}
		return len(files)
	}
	for range rounds {
		s = serveData(t, s.data, "--config", config)
		time.Sleep(rand.N(bound))
		s.kill()
		t.Logf("%d backups at the kill", whole())
	}
	s = serveData(t, s.data, "--config", config)
	s.await(func(l logLine) bool { return l.Message == "backup written and read back" })
	files, err := os.ReadDir(to)
	if err != nil || len(files) != 1 || whole() != 1 {
		t.Errorf("the folder holds %v (%v)", files, err)
	}
}

// made makes the folders of a maildir.
func made(t *testing.T, dir string) string {
	t.Helper()
	maildirOf(t, dir, 0)
	return dir
}
