package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A disk that goes away leaves its empty mount point, on a disk that no backup is meant for: a try fails until it is back.
func TestBackupsOfADiskThatIsGone(t *testing.T) {
	f := newBackedUp(t, 3)
	root, usb := mount{"/", 1}, mount{f.to, 2}
	mounts := map[string]mount{f.to: usb, f.data: root}
	f.backups.data, f.mount = f.data, func(path string) mount { return mounts[path] }
	f.look(f.plan)
	f.pass(time.Hour)
	f.want("while it is there", "1 12:00")
	if strings.Contains(f.log.String(), "file system of the data folder") {
		t.Errorf("it is taken for the disk of the data folder:\n%s", &f.log)
	}
	disk, empty := f.to, filepath.Join(t.TempDir(), "empty")
	if err := errors.Join(os.Rename(disk, disk+"-away"), os.Mkdir(disk, 0o700)); err != nil {
		t.Fatal(err)
	}
	mounts[f.to] = root
	failed := f.real.Stats().BackupFailures
	f.pass(48 * time.Hour)
	if left, err := os.ReadDir(disk); err != nil || len(left) > 0 {
		t.Errorf("%d files were written to the disk behind it, %v", len(left), err)
	}
	if f.real.Stats().BackupFailures == failed || !strings.Contains(f.log.String(), "mounted at "+disk) {
		t.Errorf("nobody is told:\n%s", &f.log)
	}
	if err := errors.Join(os.Rename(disk, empty), os.Rename(disk+"-away", disk)); err != nil {
		t.Fatal(err)
	}
	mounts[f.to] = usb
	f.pass(2 * time.Hour)
	if got := f.times(); len(got) != 2 {
		t.Errorf("behind its return: backups of %q", got)
	}

	// A start without it is told.
	f.log.Reset()
	mounts[f.to] = root
	f.start(f.plan)
	f.backups.data, f.mount = f.data, func(path string) mount { return mounts[path] }
	f.look(f.plan)
	if !strings.Contains(f.log.String(), "file system of the data folder") {
		t.Errorf("a start without the disk says nothing:\n%s", &f.log)
	}
}

// The mount point of a folder is the highest above it that is on the same device.
func TestMountOf(t *testing.T) {
	dir := t.TempDir()
	if got := mountOf("/").at; got != "/" {
		t.Errorf("of /: %q", got)
	}
	at := mountOf(dir).at
	if at == "" || !strings.HasPrefix(dir+"/", strings.TrimSuffix(at, "/")+"/") {
		t.Errorf("of %s: %q", dir, at)
	}
	if err := os.Symlink("/proc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		if got := mountOf(filepath.Join(dir, "link", "self")).at; got != "/proc" {
			t.Errorf("behind a link: %q", got)
		}
	}
	if got := mountOf(filepath.Join(dir, "away")); got != (mount{}) {
		t.Errorf("of nothing: %v", got)
	}
}
