package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

const (
	// salvagedDir is the folder for what a repair could not put back: bodies of large messages whose records are lost.
	salvagedDir = "salvaged"
	// repairMark stands from before a repair changes the log until the bodies that it orphaned are set aside. Opening
	// removes bodies that no record names, and must not when a repair that lost their records did not come to its end.
	repairMark = "repair-unfinished"
)

func (s *Store) repairMark() string { return filepath.Join(s.dir, repairMark) }

// settleBodies takes the files out of bodies/ that no message has: they are removed, or set aside behind a repair. Whether
// their messages were lost or deleted is not known then. It is called after the whole log was applied.
func (s *Store) settleBodies() error {
	if _, err := os.Stat(s.repairMark()); errors.Is(err, fs.ErrNotExist) {
		return s.bodies.sweep(s.index.alive, func(id store.ID) error { return s.opt.FS.Remove(s.bodies.name(id)) })
	} else if err != nil {
		return err
	}
	if err := s.bodies.sweep(s.index.alive, s.setAside); err != nil {
		return fmt.Errorf("setting bodies aside: %w", err)
	}
	if err := s.opt.FS.SyncDir(s.bodies.dir); err != nil {
		return err
	}
	if err := s.opt.FS.Remove(s.repairMark()); err != nil {
		return err
	}
	return s.opt.FS.SyncDir(s.dir)
}

// setAside moves a body to salvaged/, under its name.
func (s *Store) setAside(id store.ID) error {
	folder := filepath.Join(s.dir, salvagedDir)
	if err := s.opt.FS.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := s.opt.FS.SyncDir(s.dir); err != nil {
		return err
	}
	if err := s.opt.FS.Rename(s.bodies.name(id), filepath.Join(folder, id.String())); err != nil {
		return err
	}
	if err := s.opt.FS.SyncDir(folder); err != nil {
		return err
	}
	text := fmt.Sprintf("message %s has no record any more; its body is kept as %s", id, filepath.Join(salvagedDir, id.String()))
	if s.opt.salvaged == nil {
		s.opt.Log.Warn().Msg("a repair was cut off: " + text)
		return nil
	}
	s.opt.salvaged(store.Finding{Message: id.String(), Text: text})
	return nil
}

// markRepair makes the mark durable, and tells whether an earlier repair left it.
func markRepair(dir string) (before bool, err error) {
	name := filepath.Join(dir, repairMark)
	if _, err := os.Stat(name); err == nil {
		return true, nil
	}
	return false, vfs.WriteFile(vfs.OS{}, name, nil)
}

// unmarkRepair takes the mark away when there was nothing to repair.
func unmarkRepair(dir string) error { return os.Remove(filepath.Join(dir, repairMark)) }
