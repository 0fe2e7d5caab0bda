package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/secret"
)

// TestCantWrite: who names a file for a backup is told of that one, and why it can't be written.
func TestCantWrite(t *testing.T) {
	full := fmt.Errorf("store: %w", &fs.PathError{Op: "pwritev", Path: "/disk/mail.unfinished", Err: syscall.ENOSPC})
	if err := cantWrite("/disk/mail", full); err.Error() != "can't write /disk/mail: no space left on device" || !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	elsewhere := &fs.PathError{Op: "open", Path: "/store/log", Err: syscall.EIO}
	if err := cantWrite("/disk/mail", elsewhere); err != error(elsewhere) {
		t.Error(err)
	}
}

// TestBackupLacks: a backup of a store with a message that can't be read is kept, and the command fails and says
// what it lacks.
func TestBackupLacks(t *testing.T) {
	dir := t.TempDir()
	s, err := boltstore.Open(dir, boltstore.Options{Create: true, Brief: true})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := secret.Hash("secret")
	if err == nil {
		_, err = s.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: "me@a.example", Hash: hash}})
	}
	for range 3 {
		_, importErr := s.Import(t.Context(), "me@a.example", "", strings.NewReader("Subject: x\r\n\r\n"+strings.Repeat("hello\r\n", 1000)))
		err = errors.Join(err, importErr)
	}
	segment, openErr := os.OpenFile(filepath.Join(dir, "log", "0000000000000001.seg"), os.O_RDWR, 0)
	if err = errors.Join(err, openErr, s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = segment.WriteAt([]byte{0}, 10_000) // in the second one's body
	if err = errors.Join(err, segment.Close()); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"--json"}} {
		file := filepath.Join(t.TempDir(), "file")
		var out, said bytes.Buffer
		status := run(append([]string{"backup", file, "--data", dir}, args...), nil, strings.NewReader(""), &out, &said)
		if status != exitFailed || !strings.Contains(said.String(), " is left out: the checksum of its body does not match") ||
			!strings.Contains(said.String(), "letterbox: not in this backup, since they can't be read: 1 messages") {
			t.Errorf("status %d, %s", status, said.String())
		}
		if _, err := os.Stat(file); err != nil || !strings.Contains(out.String(), "2 messages, 2 entries") && !strings.Contains(out.String(), `"left_out"`) {
			t.Errorf("%v, %s", err, out.String())
		}
	}
}
