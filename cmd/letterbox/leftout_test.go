package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/secret"
)

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
