package listen

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// firstInherited is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstInherited = 3

// inherited are the sockets that the service manager handed to this process, by descriptor in the order of their names.
//
// go-systemd's activation takes them all at once, and the garbage collector then closes those that nobody asked for; an
// address asks for one name at a time.
func inherited(getenv func(string) string, pid int) []string {
	if n, err := strconv.Atoi(getenv("LISTEN_PID")); err != nil || n != pid {
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

// openInherited listens on the handed-over socket of that name. The descriptor itself stays open, so that the same name can
// be opened again and its number is never another file's.
func openInherited(name string) (net.Listener, error) {
	names := inherited(os.Getenv, os.Getpid())
	for i, n := range names {
		if n == name {
			return fromDescriptor(name, firstInherited+i)
		}
	}
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
