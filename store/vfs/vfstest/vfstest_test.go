package vfstest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"example.org/letterbox/store/vfs"
)

func create(t *testing.T, fsys vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func put(t *testing.T, f vfs.File, text string, off int64) {
	t.Helper()
	if err := f.WriteVec([][]byte{[]byte(text)}, off); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, name, want string) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, want %q; %v", filepath.Base(name), got, want, err)
	}
}

// TestFailedSyncForgets: what was written since the last sync is gone after one that fails.
func TestFailedSyncForgets(t *testing.T) {
	faults := NewFaults()
	name := filepath.Join(t.TempDir(), "f")
	f := create(t, faults, name)
	put(t, f, "durable", 0)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	put(t, f, "DUR and more", 0)
	faults.Fail(Once(Sync, 0, syscall.EIO))
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	holds(t, name, "durable")
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
}

func TestShortWriteAndFill(t *testing.T) {
	faults := NewFaults()
	name := filepath.Join(t.TempDir(), "f")
	f := create(t, faults, name)
	faults.Fail(Ever(Write, 1, syscall.EIO))
	put(t, f, "1234", 0)
	if err := f.WriteVec([][]byte{[]byte("abcd")}, 4); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	holds(t, name, "1234ab")
	faults.Fail(nil)
	faults.Fill(2)
	if err := f.WriteVec([][]byte{[]byte("xyz")}, 0); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	put(t, f, "ok", 0)
}

// TestCut: what was synced is there in every state, and of the rest what was asked for.
func TestCut(t *testing.T) {
	root := t.TempDir()
	rec := NewRecorder(root)
	f := create(t, rec, filepath.Join(root, "a"))
	put(t, f, "one", 0)
	for _, err := range []error{f.Sync(), rec.SyncDir(root)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	durable := rec.Len()
	big := bytes.Repeat([]byte{'x'}, 3*page)
	if err := f.WriteVec([][]byte{big}, 3); err != nil {
		t.Fatal(err)
	}
	if err := rec.Rename(filepath.Join(root, "a"), filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		n    int
		keep Keep
		file string
		size int
	}{
		"at the sync":       {durable, Nothing, "a", 3},
		"nothing of it":     {rec.Len(), Nothing, "a", 3},
		"all of it":         {rec.Len(), Everything, "b", 3 + 3*page},
		"before the rename": {rec.Len() - 1, Everything, "a", 3 + 3*page},
	} {
		dir := t.TempDir()
		if err := rec.Cut(dir, c.n, c.keep); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, c.file))
		if err != nil || len(got) != c.size || string(got[:3]) != "one" {
			t.Errorf("%s: %d octets in %s, want %d; %v", name, len(got), c.file, c.size, err)
		}
	}
	if len(rec.SyncPoints()) != 4 {
		t.Errorf("sync points: %v", rec.SyncPoints())
	}
}
