package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store/vfs"
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

// tinyFS is a disk that is almost full.
type tinyFS struct{ vfs.FS }

func (tinyFS) Space(string) (free, size int64, err error) { return backupLeaves - 1, 1 << 40, nil }

// Where the disk is full of backups a lower keep takes none of them away, and the log does not say that it would.
func TestBackupsOfAFullDisk(t *testing.T) {
	f := newBackedUp(t, 3)
	f.pass(72 * time.Hour)
	had := f.times()
	f.fs = tinyFS{f.fs}
	f.plan.keep = 1
	f.look(f.plan)
	f.pass(48 * time.Hour)
	f.want("of a full disk", had...)
	if len(had) != 3 || !strings.Contains(f.log.String(), "128MiB are free there: make room") || strings.Contains(f.log.String(), "keep lower") {
		t.Errorf("%q, and the log says:\n%s", had, &f.log)
	}
}
