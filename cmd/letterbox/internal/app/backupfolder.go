package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.org/letterbox/cmd/letterbox/internal/config"
)

// CheckBackups finds what is wrong with the folder to which the owner of the store writes backups. Root asks for the owner of
// the data folder.
func CheckBackups(c *config.Config) error {
	if c.Backup.To == "" {
		return nil
	}
	back, err := BorrowOwner(c.Data)
	if err != nil {
		return err
	}
	if err = backupsOutside(c); err == nil {
		err = backupsWritable(c)
	}
	return errors.Join(err, back())
}

func backupsNamed(c *config.Config) string {
	return fmt.Sprintf("backup.to %s (from %s)", c.Backup.To, c.Source("backup.to"))
}

// backupsOutside refuses a folder in the data folder, by whatever links it is reached: what takes the one takes the other.
func backupsOutside(c *config.Config) error {
	if c.Backup.To == "" {
		return nil
	}
	to, data := absolute(c.Backup.To), absolute(c.Data)
	inside := within(to, data)
	if theirs, err := os.Stat(data); err == nil {
		for dir := to; !inside; dir = filepath.Dir(dir) {
			ours, err := os.Stat(dir)
			inside = err == nil && os.SameFile(ours, theirs)
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if inside {
		return &InputError{Text: fmt.Sprintf("%s lies in the data folder %s: name a folder outside, best on another disk", backupsNamed(c), c.Data)}
	}
	return nil
}

// within tells whether a path without links is a folder or lies in it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// mount is a file system.
type mount struct {
	at     string // the highest folder on it above the one that was asked for; empty: it is not known
	device uint64
}

// mountOf returns the file system that a folder is on.
func mountOf(path string) mount {
	m := mount{at: absolute(path)}
	var ok bool
	if m.device, ok = deviceOf(m.at); !ok {
		return mount{}
	}
	for above := filepath.Dir(m.at); above != m.at; above = filepath.Dir(m.at) {
		if d, ok := deviceOf(above); !ok || d != m.device {
			break
		}
		m.at = above
	}
	return m
}

func deviceOf(path string) (device uint64, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(stat.Dev), true //nolint:unconvert // of another type elsewhere
}

// absolute returns a path without links, as far as it is there.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path
}

// backupsWritable tells whether this user can make files in the folder, without making one.
func backupsWritable(c *config.Config) error {
	if c.Backup.To == "" {
		return nil
	}
	info, err := os.Stat(c.Backup.To)
	why := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "is not there: make that folder first, or mount its disk"
	case err != nil:
		why = "can't be looked at: " + shorter(err).Error()
	case !info.IsDir():
		why = "is no folder"
	default:
		err = unix.Faccessat(unix.AT_FDCWD, c.Backup.To, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		switch {
		case errors.Is(err, unix.EROFS):
			why = "is on a file system that is read-only: under systemd the unit has to list it in ReadWritePaths"
		case err != nil:
			why = fmt.Sprintf("can't be written by uid %d", os.Geteuid())
		}
	}
	if why == "" {
		return nil
	}
	return &InputError{backupsNamed(c) + " " + why, err}
}

// backupPatience is how long a start, a stop and a reload wait for a folder that may be another machine's, and that one away.
const backupPatience = 3 * time.Second

// errSilent means that a folder's disk does not answer.
var errSilent = errors.New("does not answer: is its disk, or the machine that it is on, away?")

// patiently runs f, which asks a disk that may never answer, and waits so long for it. What does not come back is left behind.
func patiently(patience time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return errSilent
	}
}

// startBackups lets the owner of the store make backups. A folder that can't be written, or does not answer, is no reason to
// take no mail: each try says so, and counts.
func (s *process) startBackups(context.Context) error {
	err := patiently(backupPatience, func() error { return backupsOutside(s.Config) })
	if err == nil {
		if err := patiently(backupPatience, func() error { return backupsWritable(s.Config) }); err != nil {
			s.log.Error().Msg(err.Error())
		}
	} else if !errors.Is(err, errSilent) {
		return err
	}
	b := newBackups(s.store, backupPlan(s.Config), s.log)
	b.data = s.Config.Data
	s.keepBackups(b)
	return nil
}

// keepBackups makes backups until the process stops. It returns once it is known which there are.
func (s *process) keepBackups(b *backups) {
	s.backups = b
	ctx, cancel := context.WithCancel(context.Background())
	looked, done := make(chan struct{}), make(chan struct{})
	await := func(what <-chan struct{}) {
		if patiently(b.patience, func() error { <-what; return nil }) != nil {
			s.log.Error().Str("to", b.current().to).Msg("the folder of the backups " + errSilent.Error())
		}
	}
	s.defers(func(context.Context) error {
		cancel()
		await(done)
		return nil
	})
	go func() {
		defer close(done)
		b.look(b.current())
		close(looked)
		b.run(ctx)
	}()
	await(looked)
}

func (s *process) reloadBackups(next *config.Config) {
	if err := patiently(backupPatience, func() error { return backupsOutside(next) }); err != nil && !errors.Is(err, errSilent) {
		s.log.Error().Str("reason", err.Error()).Msg("[backup] not reloaded; what was before stays")
		return
	}
	s.backups.set(backupPlan(next))
}
