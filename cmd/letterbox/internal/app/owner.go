package app

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// BecomeOwner makes a process that runs as root take on the user and group that own dir, so that a command typed by root
// leaves no file behind that the daemon can't write. It must run before anything of the store is opened. A folder that is
// not there or belongs to root changes nothing.
func BecomeOwner(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil // what is wrong with the folder is said by whoever opens it
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 {
		return nil
	}
	// Groups first: after setuid they can't be changed. These calls bind all threads of the process.
	uid, gid := int(stat.Uid), int(stat.Gid)
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("can't take on the owner of %s (uid %d, gid %d): %w", dir, uid, gid, err)
	}
	return nil
}
