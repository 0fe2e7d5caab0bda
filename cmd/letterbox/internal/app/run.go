package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"example.org/letterbox/cmd/letterbox/internal/config"
)

// systemRun is the folder of the sockets where the machine has one for us. We never make it: whoever starts us does, and
// so says that there is one letterbox on this machine.
const systemRun = "/run/letterbox"

// claimName is a link in the folder of the sockets that leads to the data folder which it serves, so that a second store of
// the same owner takes no socket of the first one's, and no command meant for the one reaches the other.
const claimName = "data"

// RunFolder returns the folder of the sockets: that of the configuration, else /run/letterbox where it is there, belongs to
// the owner of the data folder and is not taken by another store, else the data folder.
func RunFolder(c *config.Config) string { return runFolder(c, systemRun) }

func runFolder(c *config.Config, system string) string {
	switch {
	case c.Run != "":
		return c.Run
	case sameOwner(system, c.Data) && !claimedByOther(system, c.Data):
		return system
	}
	return c.Data
}

// Folders returns where the sockets of the store in the data folder may be, the likely one first: an owner that can't write
// to the folder of the machine's has them in the data folder. Where the configuration names one there is no other.
func Folders(c *config.Config) []string {
	run := RunFolder(c)
	if c.Run != "" || run == c.Data {
		return []string{run}
	}
	return []string{run, c.Data}
}

// sameOwner tells whether run is a folder of the data folder's owner that this user can write. A daemon has a user of its
// own, to whom the mode of the folder tells the same; and it need not see a data folder at all.
func sameOwner(run, data string) bool {
	ours, err := os.Lstat(run)
	if err != nil || !ours.IsDir() || ours.Mode()&0o200 == 0 {
		return false
	}
	theirs, err := os.Stat(data)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	a, aOK := theirs.Sys().(*syscall.Stat_t)
	b, bOK := ours.Sys().(*syscall.Stat_t)
	return aOK && bOK && a.Uid == b.Uid
}

// claimedByOther tells whether the store of another data folder uses run. One whose folder is gone is no store.
func claimedByOther(run, data string) bool {
	theirs, err := os.Stat(filepath.Join(run, claimName))
	if err != nil {
		return false
	}
	ours, err := os.Stat(data)
	return err != nil || !os.SameFile(theirs, ours)
}

// claim marks run as used by the store in data. It returns false when another store was faster or run can't be written.
func claim(run, data string) bool {
	target, err := filepath.Abs(data)
	if err != nil {
		return false
	}
	link := filepath.Join(run, claimName)
	if _, err := os.Stat(link); errors.Is(err, fs.ErrNotExist) {
		os.Remove(link) // it leads to nothing
	}
	if err := os.Symlink(target, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	return !claimedByOther(run, data)
}

// takeRun finds the folder of the sockets for the owner of the store, who holds the lock of the data folder.
func (s *process) takeRun(ctx context.Context) error {
	if err := s.findRun(ctx); err != nil {
		return err
	}
	if s.Config.Run == "" && s.run != s.Config.Data && !claim(s.run, s.Config.Data) {
		s.run = s.Config.Data
	}
	return nil
}

// keepClaim marks the folder of the sockets as ours once we hold the admin socket in it, so whatever mark is there is of a
// store that is no more.
func (s *process) keepClaim() {
	if s.run == s.Config.Data {
		return
	}
	link := filepath.Join(s.run, claimName)
	if claimedByOther(s.run, s.Config.Data) {
		os.Remove(link)
	}
	if !claim(s.run, s.Config.Data) {
		s.log.Warn().Str("run", s.run).Msg("the folder of the sockets can't be marked as this store's")
		return
	}
	s.defers(func(context.Context) error { return os.Remove(link) })
}

func (s *process) findRun(context.Context) error {
	s.run = RunFolder(s.Config)
	info, err := os.Stat(s.run)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		err = syscall.ENOTDIR
	case s.Config.Run == "" && !s.Role.holds(Store):
		// The data folder, which is the owner's to make: its sockets are not there yet either.
		return nil
	}
	source := s.Config.Source("run")
	return &InputError{fmt.Sprintf("the folder of the sockets %s (from %s) can't be used: make that folder first", s.run, source), err}
}

// The sockets in the folder run.
func adminSocket(run string) string   { return filepath.Join(run, "admin.sock") }
func deliverSocket(run string) string { return filepath.Join(run, "deliver.sock") }
func pickupSocket(run string) string  { return filepath.Join(run, "pickup.sock") }

// HealthSocket returns where the process of a role answers whether it is ready.
func HealthSocket(run string, role Role) string {
	if role == Serve {
		return filepath.Join(run, "health.sock")
	}
	return filepath.Join(run, "health-"+string(role)+".sock")
}

// certificateFile holds the copy of the self-signed certificate and its key that the owner of the store leaves for the
// daemons.
func certificateFile(run string) string { return filepath.Join(run, "tls.pem") }
