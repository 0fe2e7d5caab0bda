package app

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/vfs"
)

const (
	// Failed backups are tried again after backupRetry, then at doubled distances of backupRetryMost at most.
	backupRetry     = time.Minute
	backupRetryMost = time.Hour
	// backupLook is how often the clock is looked at: it may have been set meanwhile.
	backupLook = time.Minute
	// backupLeaves is what a backup leaves free of its file system: the store's own may be the same, and refuses mail at half
	// of it.
	backupLeaves = 2 * boltstore.DefaultReserve
)

// plan is what the configuration asks for. The zero value asks for nothing.
type plan struct {
	to    string
	every time.Duration
	keep  int
}

func backupPlan(c *config.Config) plan { return plan{c.Backup.To, c.Backup.Every, c.Backup.Keep} }

// source is what backups are made of.
type source interface {
	StoreID() string
	WriteBackup(ctx context.Context, w io.Writer) (store.BackupReport, error)
	BackedUp(at time.Time)
	BackupFailed()
}

// backups makes a backup now and then, as the plan says: written beside the mail that goes on, read back, made durable, and
// only then does it get its name, and older ones that it made go. Which of them is the youngest stands in the folder, so a
// restart changes nothing.
type backups struct {
	store source
	fs    vfs.FS
	log   zerolog.Logger
	now   func() time.Time
	after func(time.Duration) <-chan time.Time
	data  string                  // the folder of the store; empty: it is not known
	mount func(path string) mount // which file system a folder is on

	patience time.Duration // how long a start or a stop waits for the folder

	mu   sync.Mutex
	plan plan
	wake chan struct{} // the plan is another one

	// Of run alone, once it runs.
	seen   plan      // whose folder was looked at
	newest time.Time // that is there; zero: none
	disk   mount     // that this folder is on
	failed int       // tries in a row
	retry  time.Time // when the next is due
}

func newBackups(s source, p plan, log zerolog.Logger) *backups {
	return &backups{
		store: s, fs: vfs.OS{}, log: log, now: time.Now, after: time.After, mount: mountOf, patience: backupPatience, plan: p,
		wake: make(chan struct{}, 1),
	}
}

// set replaces the plan; a backup under way goes on by the one before.
func (b *backups) set(p plan) {
	b.mu.Lock()
	b.plan = p
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *backups) current() plan {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.plan
}

// run makes backups until ctx ends, which ends one under way at once and removes what was written of it.
func (b *backups) run(ctx context.Context) {
	for ctx.Err() == nil {
		p := b.current()
		if p != b.seen {
			b.look(p)
		}
		if pause := b.pause(p); pause > 0 {
			select {
			case <-ctx.Done():
			case <-b.wake:
			case <-b.after(pause):
			}
			continue
		}
		b.try(ctx, p)
	}
}

// look finds the youngest backup of a plan's folder. One that can't be read has none, and the try that follows says why.
func (b *backups) look(p plan) {
	b.seen, b.newest, b.failed, b.retry = p, time.Time{}, 0, time.Time{}
	if p.to == "" {
		return
	}
	b.disk = b.mount(p.to)
	if b.data != "" && b.disk.at != "" && b.disk.device == b.mount(b.data).device {
		b.log.Warn().Str("to", p.to).Msg("the backups lie on the file system of the data folder, and are lost with it: is the disk that they are meant for mounted?")
	}
	made, _, err := b.made(p)
	if err == nil && len(made) > 0 {
		b.newest = made[len(made)-1].at
		b.store.BackedUp(b.newest)
	}
}

// pause returns how long nothing is to be done, at most backupLook.
func (b *backups) pause(p plan) time.Duration {
	now, due := b.now(), b.newest.Add(p.every)
	switch {
	case p.to == "":
		return backupLook
	case b.failed > 0:
		due = b.retry
		if due.Sub(now) > backupRetryMost { // the clock was set back
			due = now
		}
	case b.newest.IsZero() || p.ahead(b.newest, now):
		return 0
	}
	return min(due.Sub(now), backupLook)
}

// ahead tells whether a backup has a time that only a wrong clock can have given it, now or then.
func (p plan) ahead(at, now time.Time) bool { return at.Sub(now) > p.every }

// try makes one backup, and says what came of it.
func (b *backups) try(ctx context.Context, p plan) {
	began := b.now()
	file, report, err := b.one(ctx, p, began)
	if ctx.Err() != nil {
		return // the process stops
	}
	if err != nil {
		pause := min(backupRetry<<min(b.failed, 10), backupRetryMost, p.every)
		b.failed++
		b.retry = b.now().Round(0).Add(pause)
		b.store.BackupFailed()
		b.log.Error().Str("to", p.to).Str("reason", backupReason(err)).Dur("pause", pause).Msg("the backup failed: trying again")
		return
	}
	// As at a restart: the time of time.Now would not count a night that the machine sleeps.
	b.failed, b.newest = 0, file.at
	if lacks := report.LeftOut; lacks != nil { // older ones stay: they may have it
		b.store.BackupFailed()
		b.log.Error().Str("file", file.name).Int64("messages", report.Messages).Int64("left_out", lacks.Messages).
			Msg("backup written, but for messages that can't be read: run letterbox verify; older backups stay")
		return
	}
	b.store.BackedUp(began)
	b.log.Info().Str("file", file.name).Int64("messages", report.Messages).Int64("octets", report.Octets).Dur("took", b.now().Sub(began)).
		Msg("backup written and read back")
	if err := b.prune(p, file); err != nil {
		b.log.Warn().Str("to", p.to).Str("reason", shorter(err).Error()).Msg("an old backup could not be removed")
	}
}

// unmounted is a disk that was there when the plan began, and is not.
type unmounted struct{ at string }

func (u *unmounted) Error() string {
	return "the disk that was mounted at " + u.at + " is gone: mount it, or restart letterbox if the folder is meant as it is now"
}

// present fails where the folder's disk is gone: its mount point is another disk's folder, which is not to be filled.
func (b *backups) present(p plan) error {
	if now := b.mount(p.to); now.at != "" && now.at != b.disk.at && within(b.disk.at, now.at) {
		return &unmounted{b.disk.at}
	}
	return nil
}

// backupReason is why a backup failed, without the paths that the log's line has already.
func backupReason(err error) string {
	if errors.Is(err, errNoRoom) {
		return "less than " + config.FormatSize(backupLeaves) + " are free there: make room, older backups go only once a new one was read back"
	}
	return shorter(err).Error()
}

// one writes a backup. What an earlier process left unfinished goes first.
func (b *backups) one(ctx context.Context, p plan, now time.Time) (madeBackup, store.BackupReport, error) {
	file := madeBackup{name: b.name(now), at: now.UTC().Truncate(time.Second)}
	var report store.BackupReport
	if err := b.present(p); err != nil {
		return file, report, err
	}
	_, left, err := b.made(p)
	for _, name := range left {
		err = errors.Join(err, b.fs.Remove(filepath.Join(p.to, name)))
	}
	if err != nil {
		return file, report, err
	}
	out, err := newBackupFile(b.fs, filepath.Join(p.to, file.name), backupLeaves)
	if err != nil {
		return file, report, err
	}
	report, err = b.store.WriteBackup(ctx, out)
	return file, report, out.Finish(ctx, report, err)
}

// madeBackup is a file that we made: it was read back before it had its name.
type madeBackup struct {
	name string
	at   time.Time
}

// The names are letterbox-TIME-STORE.backup, the time in UTC, so that they sort by it, and STORE the beginning of the store's
// id, so that several stores may share a folder and none removes another's.
const (
	backupPrefix = "letterbox-"
	backupTime   = "20060102T150405Z"
	backupEnding = ".backup"
)

func (b *backups) name(at time.Time) string {
	return backupPrefix + at.UTC().Format(backupTime) + "-" + b.store.StoreID()[:8] + backupEnding
}

// made lists the backups of this store in a plan's folder in the order of their time, those that a clock ahead of ours named
// first, since they are none of the youngest; and what was left unfinished.
func (b *backups) made(p plan) (made []madeBackup, left []string, err error) {
	entries, err := b.fs.ReadDir(p.to)
	for _, e := range entries {
		name, unfinished := strings.CutSuffix(e.Name(), backupUnfinished)
		text := strings.TrimPrefix(name, backupPrefix)
		at, parseErr := time.Parse(backupTime, text[:min(len(text), len(backupTime))])
		switch {
		case parseErr != nil || b.name(at) != name || !e.Type().IsRegular():
		case unfinished:
			left = append(left, e.Name())
		default:
			made = append(made, madeBackup{name, at})
		}
	}
	now := b.now()
	slices.SortStableFunc(made, func(x, y madeBackup) int {
		switch ahead := p.ahead(x.at, now); {
		case ahead == p.ahead(y.at, now):
			return x.at.Compare(y.at)
		case ahead:
			return -1
		}
		return 1
	})
	return made, left, err
}

// prune removes the oldest backups beyond what the plan keeps, and never the one that was just made.
func (b *backups) prune(p plan, just madeBackup) error {
	made, _, err := b.made(p)
	if err != nil {
		return err
	}
	made = slices.DeleteFunc(made, func(m madeBackup) bool { return m.name == just.name })
	removed := false
	for _, old := range made[:max(0, len(made)+1-p.keep)] {
		gone := b.fs.Remove(filepath.Join(p.to, old.name))
		if errors.Is(gone, fs.ErrNotExist) {
			continue
		}
		removed = true
		err = errors.Join(err, gone)
	}
	if removed {
		err = errors.Join(err, b.fs.SyncDir(p.to))
	}
	return err
}
