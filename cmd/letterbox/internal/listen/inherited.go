package listen

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// firstInherited is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstInherited = 3

// EnvParent holds the process id of the parent that handed over sockets, in place of $LISTEN_PID: a supervisor that is no
// init system does not know the id of its child before it is there.
const EnvParent = "LISTEN_PPID"

// inherited are the sockets that the service manager handed to this process, by descriptor in the order of their names.
//
// go-systemd's activation takes them all at once, and the garbage collector then closes those that nobody asked for; an
// address asks for one name at a time.
func inherited(getenv func(string) string, pid, parent int) []string {
	if !isID(getenv("LISTEN_PID"), pid) && !isID(getenv(EnvParent), parent) {
		return nil
	}
	count, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || count < 1 || count > 1<<10 {
		return nil
	}
	names := make([]string, count)
	copy(names, strings.Split(getenv("LISTEN_FDNAMES"), ":"))
	return names
}

// ParentGone tells whether the parent that meant to hand over sockets has ended before this process could look: then it is
// the child of another, and what was handed over is nobody's.
func ParentGone() bool {
	parent := os.Getenv(EnvParent)
	return parent != "" && !isID(parent, os.Getppid())
}

func isID(text string, id int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n == id
}

// Inherited listens on the first handed-over socket of that name. It returns nil when there is none.
func Inherited(name string) (net.Listener, error) {
	all, err := InheritedAll(name)
	if len(all) == 0 {
		return nil, err
	}
	for _, l := range all[1:] {
		l.Close()
	}
	return all[0], nil
}

// InheritedAll listens on every handed-over socket of that name, in their order. The descriptors themselves stay open, so
// that the same name can be opened again and their numbers are never another file's.
func InheritedAll(name string) ([]net.Listener, error) {
	var all []net.Listener
	for i, n := range inherited(os.Getenv, os.Getpid(), os.Getppid()) {
		if n != name {
			continue
		}
		l, err := fromDescriptor(name, firstInherited+i)
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// CloseInherited closes the handed-over sockets of these names for good: a process that ends slowly must not keep an address
// that it does not serve any more. Nothing of these names may be opened afterwards.
func CloseInherited(names ...string) {
	for i, n := range inherited(os.Getenv, os.Getpid(), os.Getppid()) {
		if slices.Contains(names, n) {
			syscall.Close(firstInherited + i) //nolint:errcheck // it was only listened on
		}
	}
}

// InheritedFile returns the handed-over descriptor of that name, which may be anything, or nil when there is none.
func InheritedFile(name string) *os.File {
	for i, n := range inherited(os.Getenv, os.Getpid(), os.Getppid()) {
		if n == name {
			syscall.CloseOnExec(firstInherited + i)
			return os.NewFile(uintptr(firstInherited+i), name)
		}
	}
	return nil
}

// openInherited listens on the handed-over socket of that name.
func openInherited(name string) (net.Listener, error) {
	l, err := Inherited(name)
	if l != nil || err != nil {
		return l, err
	}
	names := inherited(os.Getenv, os.Getpid(), os.Getppid())
	if len(names) == 0 {
		return nil, fmt.Errorf("can't listen on fd:%s: the service manager handed over no sockets (is there a .socket unit?)", name)
	}
	return nil, fmt.Errorf("can't listen on fd:%s: the sockets handed over are named %s (see FileDescriptorName= in the .socket unit)",
		name, strings.Join(names, ", "))
}

func fromDescriptor(name string, fd int) (net.Listener, error) {
	syscall.CloseOnExec(fd)
	listening, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err != nil || listening == 0 {
		return nil, fmt.Errorf("can't listen on fd:%s: it is no listening stream socket (want ListenStream= and Accept=no)", name)
	}
	own, err := syscall.Dup(fd)
	if err != nil {
		return nil, fmt.Errorf("can't listen on fd:%s: %w", name, err)
	}
	f := os.NewFile(uintptr(own), name)
	defer f.Close() // FileListener has one of its own
	syscall.CloseOnExec(own)
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("can't listen on fd:%s: %w", name, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the file is the service manager's
	}
	return l, nil
}
