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

// startBackups lets the owner of the store make backups. A folder that can't be written is no reason to take no mail: each
// try says so, and counts.
func (s *process) startBackups(context.Context) error {
	if err := backupsOutside(s.Config); err != nil {
		return err
	}
	if err := backupsWritable(s.Config); err != nil {
		s.log.Error().Msg(err.Error())
	}
	s.backups = newBackups(s.store, backupPlan(s.Config), s.log)
	s.backups.data = s.Config.Data
	s.backups.look(s.backups.plan)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.defers(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
	s.tasks.Go(func() {
		defer close(done)
		s.backups.run(ctx)
	})
	return nil
}

func (s *process) reloadBackups(next *config.Config) {
	if err := backupsOutside(next); err != nil {
		s.log.Error().Str("reason", err.Error()).Msg("[backup] not reloaded; what was before stays")
		return
	}
	s.backups.set(backupPlan(next))
}
