package storesock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// MaxPath is the longest path of a socket in octets. The kernel's own limit is 104 to 108, and its error does not say so.
const MaxPath = 100

// Errors of ListenUnix and DialAdmin, wrapped in a sentence that names the path.
var (
	ErrPathTooLong = errors.New("socket path is too long")
	// ErrLive means that another process listens on the socket.
	ErrLive = errors.New("socket is in use")
	// ErrNoOwner means that nobody listens on the socket.
	ErrNoOwner = errors.New("no process listens")
)

func checkPath(path string) error {
	if len(path) > MaxPath {
		return fmt.Errorf("%w: %s has %d octets, and the system allows about %d: use a folder with a shorter name",
			ErrPathTooLong, path, len(path), MaxPath)
	}
	return nil
}

// ListenUnix makes a socket at path that has the permissions mode from its first moment on. A socket that a dead process
// left there is replaced, one on which somebody listens is ErrLive, and any other file stays and is an error. Two processes
// that start at once must hold a lock around the call.
//
// Closing the listener removes the socket.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: bindMode(mode)}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("can't make the socket %s: %w", path, reason(err))
	}
	// The umask may have taken bits away, and only Linux heeds bindMode.
	if err := os.Chmod(path, mode.Perm()); err != nil {
		l.Close()
		return nil, fmt.Errorf("can't set the permissions of the socket: %w", err)
	}
	return l, nil
}

// bindMode gives the socket its mode before it has a name: Linux makes the file with the mode of the socket's own inode, so
// that there is no moment in which others can connect. Where the system refuses that, ListenUnix sets the mode afterwards,
// and the check of the peer's user covers the moment between.
func bindMode(mode fs.FileMode) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode.Perm())) })
	}
}

// clearStale removes a socket on which nobody listens.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("can't make the socket %s: %w", path, reason(err))
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("can't make the socket %s: another file of that name is there", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("%w: another process listens on %s", ErrLive, path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, syscall.EAGAIN): // its queue is full
		return fmt.Errorf("%w: another process listens on %s", ErrLive, path)
	}
	return fmt.Errorf("can't tell whether another process listens on %s: %w", path, reason(err))
}

// reason is the innermost error: the layers of net and os repeat the path.
func reason(err error) error {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}
