package vfs

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const denyVariable = "LETTERBOX_TEST_DENY"

// syncerCalls are the system calls of a Syncer's queue.
func syncerCalls() map[string]uintptr {
	return map[string]uintptr{
		"io_setup": unix.SYS_IO_SETUP, "io_submit": unix.SYS_IO_SUBMIT, "io_getevents": unix.SYS_IO_GETEVENTS,
		"io_destroy": unix.SYS_IO_DESTROY, "eventfd2": unix.SYS_EVENTFD2,
	}
}

// TestSyncerInASandbox: whichever of its system calls a filter forbids, as systemd's SystemCallFilter and containers do, a
// Syncer makes files durable, and leaves nothing open. A child has the filter, since nobody can take it off.
func TestSyncerInASandbox(t *testing.T) {
	for name := range syncerCalls() {
		t.Run(name, func(t *testing.T) {
			c := exec.Command(os.Args[0], "-test.run=^TestSandboxed$", "-test.v")
			c.Env = append(os.Environ(), denyVariable+"="+name)
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if strings.Contains(string(out), "SKIP: TestSandboxed") {
				t.Skip(string(out))
			}
		})
	}
}

// TestSandboxed is the child.
func TestSandboxed(t *testing.T) {
	name := os.Getenv(denyVariable)
	if name == "" {
		t.Skip("a part of TestSyncerInASandbox")
	}
	f := syncedFile(t)
	r, w, err := os.Pipe() // the runtime's own eventfd is there before the filter
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	before := descriptors(t)
	forbid(t, syncerCalls()[name])
	var s Syncer
	for n := range 3 {
		if err := s.Sync(f); err != nil {
			t.Fatalf("sync %d: %v", n, err)
		}
	}
	if name != "io_destroy" && !s.plain {
		t.Error("the queue was used all the same")
	}
	s.Close()
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, there were %d", after, before)
	}
}

// forbid has the kernel answer one system call of this process with EPERM.
func forbid(t *testing.T, call uintptr) {
	t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(call), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Skip(err)
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		t.Skip(e)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(all)
}

// TestSyncerWithoutDescriptors: where no descriptor is left, and none for the queue's eventfd, files are synced.
func TestSyncerWithoutDescriptors(t *testing.T) {
	f := syncedFile(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	less := limit
	less.Cur = 3 // taken already
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &less); err != nil {
		t.Fatal(err)
	}
	var s Syncer
	err := s.Sync(f)
	if back := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); back != nil {
		t.Fatal(back)
	}
	if err != nil || !s.plain {
		t.Errorf("%v; without the queue: %v", err, s.plain)
	}
	s.Close()
}

// TestSyncerWithoutEventfd: when the eventfd can't be waited for, the end of a sync is, and none is taken for the next one's.
func TestSyncerWithoutEventfd(t *testing.T) {
	f := syncedFile(t)
	s := Syncer{queue: newSyncQueue()}
	if s.queue == nil {
		t.Skip("the kernel has no queue for us")
	}
	defer s.Close()
	kept := s.queue.ended // the kernel goes on telling it
	defer kept.Close()
	dead, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	s.queue.ended = dead
	for n := range 10 {
		if err := f.WriteVec([][]byte{{byte(n)}}, int64(n)); err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(f); err != nil {
			t.Fatal(n, err)
		}
	}
}
