package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestWriteVec: all buffers arrive, also more of them than one call of the system takes, and empty ones.
func TestWriteVec(t *testing.T) {
	for _, n := range []int{0, 1, 1023, 1024, 1025, 5000} {
		name := filepath.Join(t.TempDir(), "f")
		f, err := OS{}.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		var bufs [][]byte
		want := []byte{0, 0, 0}
		for i := range n {
			b := bytes.Repeat([]byte{byte(i)}, i%7)
			bufs = append(bufs, b)
			want = append(want, b...)
		}
		if err := errors.Join(f.WriteVec(bufs, 3), f.Sync()); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if n > 1 && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%d buffers: %d octets, want %d; %v", n, len(got), len(want), err)
		}
		if size, err := f.Size(); err != nil || size != int64(len(got)) {
			t.Errorf("size %d, %v", size, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWriteVecFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OS{}.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.WriteVec([][]byte{{1}}, 0); err == nil {
		t.Error("wrote to a file that is open for reading")
	}
}

func TestMkdir(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "d")
	for range 2 {
		if err := (OS{}).Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (OS{}).Mkdir(file, 0o700); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file in its place: %v", err)
	}
	if err := (OS{}).SyncDir(dir); err != nil {
		t.Error(err)
	}
	if free, size, err := (OS{}).Space(dir); err != nil || free <= 0 || size < free {
		t.Errorf("%d of %d free, %v", free, size, err)
	}
}
