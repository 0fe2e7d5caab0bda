package app

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"
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
	uid, gid := int(stat.Uid), int(stat.Gid)
	if err := become(uid, gid, []int{gid}); err != nil {
		return fmt.Errorf("can't take on the owner of %s (uid %d, gid %d): %w", dir, uid, gid, err)
	}
	return nil
}

// BorrowOwner is BecomeOwner until back is called: for what root asks of the owner's files on the way to a file of its own.
func BorrowOwner(dir string) (back func() error, err error) {
	back = func() error { return nil }
	if os.Geteuid() != 0 {
		return back, nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return back, nil // as in BecomeOwner
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 {
		return back, nil
	}
	gid := os.Getegid()
	groups, err := syscall.Getgroups()
	if err != nil {
		return back, err
	}
	err = errors.Join(syscall.Setgroups([]int{int(stat.Gid)}), syscall.Setegid(int(stat.Gid)), syscall.Seteuid(int(stat.Uid)))
	if err != nil {
		return back, fmt.Errorf("can't take on the owner of %s (uid %d, gid %d): %w", dir, stat.Uid, stat.Gid, err)
	}
	return func() error {
		return errors.Join(syscall.Seteuid(0), syscall.Setegid(gid), syscall.Setgroups(groups))
	}, nil
}

// become changes the user for good. Groups first: after setuid they can't be changed. These calls bind all threads of the
// process.
func become(uid, gid int, groups []int) error {
	return errors.Join(syscall.Setgroups(groups), syscall.Setgid(gid), syscall.Setuid(uid))
}

// becomeUser makes a process that runs as root take on USER[:GROUP], names or numbers. The data folder has to be that
// user's: it is made so where it is not there.
func becomeUser(name, data, source string) error {
	if os.Geteuid() != 0 {
		return &InputError{Text: fmt.Sprintf("--run-as %s needs root: leave it out, or start letterbox as root", name)}
	}
	id, err := lookup(name)
	if err != nil {
		return &InputError{fmt.Sprintf("--run-as %s: %s", name, err), err}
	}
	info, err := os.Stat(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = makeFolder(data)
		if err == nil {
			err = os.Chown(data, id.uid, id.gid)
		}
	case err == nil:
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != id.uid {
			return &InputError{Text: fmt.Sprintf("data folder %s (from %s) belongs to uid %d and not to %s (uid %d): change its owner, with all that is in it, or --run-as",
				data, source, stat.Uid, name, id.uid)}
		}
	}
	if err != nil {
		return folderError(data, source, err)
	}
	if err := become(id.uid, id.gid, id.groups); err != nil {
		return fmt.Errorf("can't become %s (uid %d, gid %d): %w", name, id.uid, id.gid, err)
	}
	return nil
}

// identity is who a process runs as.
type identity struct {
	uid, gid int
	groups   []int
}

// lookup reads USER[:GROUP]. A number need not be known to the system; without a GROUP the user's own groups count.
func lookup(name string) (id identity, err error) {
	userName, groupName, withGroup := strings.Cut(name, ":")
	known, userErr := user.Lookup(userName)
	if userErr != nil {
		known, _ = user.LookupId(userName)
	}
	switch {
	case known != nil:
		id.uid, id.gid, id.groups, err = numbers(known)
	case withGroup:
		id.uid, err = number(userName)
	default:
		err = userErr
	}
	if err != nil {
		return id, fmt.Errorf("there is no user %q here; a number that the system does not know goes with a group: 1000:1000", userName)
	}
	if withGroup {
		if id.gid, err = lookupGroup(groupName); err != nil {
			return id, err
		}
		id.groups = []int{id.gid}
	}
	if id.uid <= 0 || id.gid < 0 {
		return id, errors.New("name another user than root")
	}
	return id, nil
}

// number reads an id. The kernel takes 32 bits of a larger one, which may be root's, and the highest for no id.
func number(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && n == math.MaxUint32 {
		err = strconv.ErrRange
	}
	return int(n), err
}

func numbers(u *user.User) (uid, gid int, groups []int, err error) {
	uid, uidErr := number(u.Uid)
	gid, gidErr := number(u.Gid)
	groups = []int{gid}
	names, _ := u.GroupIds() // none is enough
	for _, text := range names {
		if n, err := number(text); err == nil && n != gid {
			groups = append(groups, n)
		}
	}
	return uid, gid, groups, errors.Join(uidErr, gidErr)
}

func lookupGroup(name string) (int, error) {
	if g, err := user.LookupGroup(name); err == nil {
		name = g.Gid
	}
	gid, err := number(name)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q here", name)
	}
	return gid, nil
}
