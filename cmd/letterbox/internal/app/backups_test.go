package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/secret"
	"example.org/letterbox/store/vfs/vfstest"
)

// backedUp is a store, the folder of its backups, and a clock that only the test moves.
type backedUp struct {
	*backups
	t      *testing.T
	real   *boltstore.Store
	data   string
	faults *vfstest.Faults
	clock  time.Time
	to     string
	log    bytes.Buffer
}

// backupBegin is when the clock of these tests begins.
func backupBegin() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func newBackedUp(t *testing.T, keep int) *backedUp {
	dir := t.TempDir()
	s, err := boltstore.Open(dir, boltstore.Options{Create: true, Brief: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	hash, err := secret.Hash("secret")
	if err == nil {
		_, err = s.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: "me@a.example", Hash: hash}})
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := s.Import(t.Context(), "me@a.example", "", strings.NewReader("Subject: x\r\n\r\n"+strings.Repeat("hello\r\n", 15_000))); err != nil {
			t.Fatal(err)
		}
	}
	f := &backedUp{t: t, real: s, data: dir, faults: vfstest.NewFaults(), clock: backupBegin(), to: t.TempDir()}
	f.start(plan{f.to, 24 * time.Hour, keep})
	return f
}

// start is a new process.
func (f *backedUp) start(p plan) {
	f.backups = newBackups(f.real, p, zerolog.New(&f.log))
	f.fs, f.now = f.faults, func() time.Time { return f.clock }
	f.look(p)
}

// pass lets time go by, with all that is due in it.
func (f *backedUp) pass(d time.Duration) {
	for end := f.clock.Add(d); ; {
		pause := f.pause(f.plan)
		switch {
		case pause <= 0:
			f.try(f.t.Context(), f.plan)
		case f.clock.Add(pause).After(end):
			f.clock = end
			return
		default:
			f.clock = f.clock.Add(pause)
		}
	}
}

// times returns when the backups that are there were made, as day and hour. Each has to be whole, and the only other files
// those of others.
func (f *backedUp) times(others ...string) (times []string) {
	f.t.Helper()
	entries, err := os.ReadDir(f.to)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range entries {
		if slices.Contains(others, e.Name()) {
			continue
		}
		text, ours := strings.CutPrefix(e.Name(), backupPrefix)
		at, err := time.Parse(backupTime, text[:min(len(text), len(backupTime))])
		if !ours || err != nil || !strings.HasSuffix(text, f.real.StoreID()[:8]+backupEnding) {
			f.t.Errorf("%s is there", e.Name())
			continue
		}
		file, err := os.Open(filepath.Join(f.to, e.Name()))
		if err != nil {
			f.t.Fatal(err)
		}
		if r, err := boltstore.CheckBackup(f.t.Context(), file); err != nil || r.Messages != 10 {
			f.t.Errorf("%s: %v, %+v", e.Name(), err, r)
		}
		file.Close()
		times = append(times, at.Format("2 15:04"))
	}
	return times
}

func (f *backedUp) want(what string, times ...string) {
	f.t.Helper()
	if got := f.times(); !slices.Equal(got, times) {
		f.t.Errorf("%s: backups of %q, want %q", what, got, times)
	}
}

// The first backup is made at once, the next when the youngest that is there is old enough, whatever was restarted meanwhile;
// as many stay as are to be kept.
func TestBackupsAreDueByTheYoungestThatIsThere(t *testing.T) {
	f := newBackedUp(t, 2)
	f.pass(0)
	f.want("at the start", "1 12:00")
	f.pass(20 * time.Hour)
	f.start(f.plan)
	f.pass(3 * time.Hour)
	f.want("after a restart", "1 12:00")
	if got := f.real.Stats().LastBackup; !got.Equal(backupBegin()) {
		t.Errorf("the last backup is of %s", got)
	}
	f.pass(time.Hour)
	f.want("a day later", "1 12:00", "2 12:00")
	f.pass(7 * time.Hour)
	f.start(f.plan)
	f.pass(17 * time.Hour)
	f.want("two days later", "2 12:00", "3 12:00")
	f.pass(72 * time.Hour)
	f.want("five days later", "5 12:00", "6 12:00")
	stats := f.real.Stats()
	if want := backupBegin().Add(120 * time.Hour); !stats.LastBackup.Equal(want) || stats.BackupFailures != 0 {
		t.Errorf("the last backup is of %s and %d failed", stats.LastBackup, stats.BackupFailures)
	}
	off := f.plan
	off.to = ""
	f.start(off)
	f.pass(72 * time.Hour)
	f.want("switched off", "5 12:00", "6 12:00")
}

// What others put into the folder stays, and does not count: also another store's backups and what only looks like ours.
func TestBackupsLeaveTheFilesOfOthersAlone(t *testing.T) {
	f := newBackedUp(t, 1)
	ours := f.name(backupBegin().Add(-300 * time.Hour))
	others := []string{
		"letterbox-20260101T000000Z-00000000.backup", "letterbox-20260101T000000Z-00000000.backup.unfinished",
		"letterbox-20260101T000000Z.backup", "letterbox-2026-" + f.real.StoreID()[:8] + ".backup", "before the move.backup",
		strings.Replace(ours, "letterbox", "copy", 1), ours + ".gz", "letterbox-", "notes.txt",
	}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(f.to, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder := f.name(backupBegin().Add(-200 * time.Hour))
	if err := os.Mkdir(filepath.Join(f.to, folder), 0o700); err != nil {
		t.Fatal(err)
	}
	left := f.name(backupBegin().Add(-24*time.Hour)) + backupUnfinished
	if err := os.WriteFile(filepath.Join(f.to, left), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.start(f.plan)
	f.pass(72 * time.Hour)
	if got := f.times(append(others, folder)...); !slices.Equal(got, []string{"4 12:00"}) {
		t.Errorf("backups of %q", got)
	}
	for _, name := range append(others, folder) {
		if _, err := os.Lstat(filepath.Join(f.to, name)); err != nil {
			t.Error(err)
		}
	}
}

// A backup that fails, whatever at, leaves nothing of itself and takes no earlier one away. It is tried again after a minute,
// then after two, and goes on once the cause is gone.
func TestBackupsThatFailTakeNothingAway(t *testing.T) {
	for name, fail := range map[string]struct{ break_, mend func(*backedUp) }{
		"full disk":   {failing(vfstest.Write, 2, syscall.ENOSPC), working},
		"little room": {func(f *backedUp) { f.faults.Fill(backupLeaves - 1) }, func(f *backedUp) { f.faults.Fill(-1) }},
		"no open":     {failing(vfstest.Open, 0, syscall.EIO), working},
		"write":       {failing(vfstest.Write, 0, syscall.EIO), working},
		"late write":  {failing(vfstest.Write, 1, syscall.EIO), working},
		"sync":        {failing(vfstest.Sync, 0, syscall.EIO), working},
		"read back":   {failing(vfstest.Read, 0, syscall.EIO), working},
		"rename":      {failing(vfstest.Rename, 0, syscall.EIO), working},
		"no folder": {
			func(f *backedUp) { f.check(os.Rename(f.to, f.to+".away")) },
			func(f *backedUp) { f.check(os.Rename(f.to+".away", f.to)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newBackedUp(t, 1)
			f.pass(23 * time.Hour)
			fail.break_(f)
			f.pass(time.Hour + 13*time.Minute)
			last, failures := f.real.Stats().LastBackup, f.real.Stats().BackupFailures
			if !last.Equal(backupBegin()) || failures != 4 { // after 0, 1, 3 and 7 minutes
				t.Errorf("the last backup is of %s and %d failed\n%s", last, failures, f.log.String())
			}
			if !strings.Contains(f.log.String(), `"level":"error","to":"`+f.to+`","reason":"`) {
				t.Errorf("the log says\n%s", f.log.String())
			}
			fail.mend(f)
			f.want("while it fails", "1 12:00")
			f.pass(3 * time.Minute)
			f.want("once it works again", "2 12:15")
			f.pass(24 * time.Hour)
			f.want("a day later", "3 12:15")
		})
	}
}

func failing(call vfstest.Call, n int, err error) func(*backedUp) {
	return func(f *backedUp) {
		decide := vfstest.Ever(call, n, err)
		f.faults.Fail(func(c vfstest.Call, name string) error {
			if !strings.HasPrefix(name, f.to) {
				return nil
			}
			return decide(c, name)
		})
	}
}

func working(f *backedUp) { f.faults.Fail(nil) }

func (f *backedUp) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// A clock that ran ahead leaves files that are younger than all that come. They keep no backup from being made, and go first.
func TestBackupsOfAClockThatRanAhead(t *testing.T) {
	f := newBackedUp(t, 3)
	f.pass(0)
	f.clock = f.clock.AddDate(10, 0, 0)
	f.pass(time.Hour)
	f.clock = backupBegin().Add(2 * time.Hour)
	f.pass(12 * time.Hour)
	f.want("the clock is right again", "1 12:00", "1 14:00", "1 12:00")
	f.pass(48 * time.Hour)
	f.want("two days later", "1 14:00", "2 14:00", "3 14:00")

	f.clock = time.Unix(0, 0)
	f.pass(time.Minute)
	if got := f.times(); len(got) != 3 || !slices.Contains(got, "3 14:00") {
		t.Errorf("with a clock of 1970 backups of %q are left", got)
	}
}

// slowSource writes a little and then nothing until it is told to stop.
type slowSource struct {
	*boltstore.Store
	wrote chan struct{}
}

func (s slowSource) WriteBackup(ctx context.Context, w io.Writer) (store.BackupReport, error) {
	_, err := w.Write(make([]byte, 1<<20))
	close(s.wrote)
	<-ctx.Done()
	return store.BackupReport{}, errors.Join(err, ctx.Err())
}

// A stop ends a backup at once, and leaves nothing of it.
func TestBackupsStopAtOnce(t *testing.T) {
	f := newBackedUp(t, 1)
	slow := slowSource{f.real, make(chan struct{})}
	f.store = slow
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx)
	}()
	<-slow.wrote
	cancel()
	<-done
	f.want("after the stop")
	if n := f.real.Stats().BackupFailures; n != 0 {
		t.Errorf("the stop counts as %d failures", n)
	}
}

// What a machine sleeps through counts: the time of the youngest is the clock's alone, and so is that of the next try. Of two
// times that both have a monotonic reading Go takes that one, and it stands still meanwhile.
func TestBackupsOfAMachineThatSleeps(t *testing.T) {
	f := newBackedUp(t, 3)
	f.now = time.Now
	f.try(t.Context(), f.plan)
	if f.newest.IsZero() || f.newest != f.newest.Round(0) {
		t.Errorf("the youngest is of %v", f.newest)
	}
	f.plan.to += "/away"
	f.try(t.Context(), f.plan)
	if f.retry.IsZero() || f.retry != f.retry.Round(0) {
		t.Errorf("the next try is at %v", f.retry)
	}
}

// A new plan counts at once: here it switches backups on.
func TestBackupsByANewPlan(t *testing.T) {
	f := newBackedUp(t, 1)
	on := f.plan
	f.plan = plan{}
	ctx, cancel := context.WithCancel(t.Context())
	done, waits := make(chan struct{}), make(chan struct{})
	f.after = func(time.Duration) <-chan time.Time {
		waits <- struct{}{}
		return nil
	}
	go func() {
		defer close(done)
		f.run(ctx)
	}()
	<-waits
	f.set(on)
	<-waits
	cancel()
	<-done
	f.want("after the new plan", "1 12:00")
}
