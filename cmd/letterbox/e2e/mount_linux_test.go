package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// tmpfs mounts a small file system of its own for the test.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tmpfs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, "tmpfs", dir, "tmpfs", 0, "size="+size)
	return dir
}

// readOnly mounts dir on itself, read-only.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	mount(t, dir, dir, "", syscall.MS_BIND, "")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

// mount mounts until the test's end. Servers that were started after it are stopped before that.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		unable(t, "can't mount (this test wants root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(target, 0); err != nil {
			t.Errorf("unmount %s: %v", target, err)
			syscall.Unmount(target, syscall.MNT_DETACH)
		}
	})
}
