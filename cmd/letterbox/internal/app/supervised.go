package app

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"example.org/letterbox/cmd/letterbox/internal/listen"
)

// supervisorName is the handed-over connection between a supervisor and one of its processes. On it go the notifications
// of sd_notify(3), a line each; its end is the end of the other side, however that came.
const supervisorName = "supervisor"

// underSupervisor returns a context that ends with the supervisor, and where that is told what happens; nil where no
// supervisor started this process. Of one that is gone already nothing is left, and the context has ended.
func underSupervisor(ctx context.Context) (context.Context, io.Writer) {
	if listen.ParentGone() {
		gone, cancel := context.WithCancel(ctx)
		cancel()
		return gone, nil
	}
	f := listen.InheritedFile(supervisorName)
	if f == nil {
		return ctx, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, f)
		cancel()
	}()
	return ctx, f
}

// connection returns both ends of what underSupervisor finds.
func connection() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range ends {
		syscall.CloseOnExec(fd)
	}
	if err := syscall.SetNonblock(ends[0], true); err != nil { // ours is read with a deadline
		return nil, nil, errors.Join(os.NewSyscallError("setnonblock", err), syscall.Close(ends[0]), syscall.Close(ends[1]))
	}
	return os.NewFile(uintptr(ends[0]), supervisorName), os.NewFile(uintptr(ends[1]), supervisorName), nil
}
