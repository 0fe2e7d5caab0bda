//go:build darwin || freebsd

package storesock

import "golang.org/x/sys/unix"

func credentials(fd int) (peer, error) {
	c, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return peer{}, err
	}
	if c.Ngroups < 1 {
		return peer{}, errNoPeer
	}
	return peer{uid: c.Uid, gid: c.Groups[0]}, nil
}
