package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store/boltstore"
)

// A backup that lacks a message, since that can't be read, stays, counts as failed, and takes no older one away.
func TestBackupsThatLackMessages(t *testing.T) {
	f := newBackedUp(t, 1)
	f.pass(0)
	f.want("while all is whole", "1 12:00")
	segment, err := os.OpenFile(filepath.Join(f.data, "log", "0000000000000001.seg"), os.O_RDWR, 0)
	if err == nil {
		_, err = segment.WriteAt([]byte{0}, 200_000) // in a body of 105,014 octets
		err = errors.Join(err, segment.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	f.pass(48 * time.Hour)
	files, err := filepath.Glob(filepath.Join(f.to, "*.backup"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%q are there, %v", files, err)
	}
	for i, want := range []int64{10, 9, 9} {
		file, err := os.Open(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if r, err := boltstore.CheckBackup(t.Context(), file); err != nil || r.Messages != want {
			t.Errorf("%s: %+v, %v", files[i], r, err)
		}
		file.Close()
	}
	if st := f.real.Stats(); st.BackupFailures != 2 || !st.LastBackup.Equal(backupBegin()) {
		t.Errorf("%d failures, the last backup is of %s", st.BackupFailures, st.LastBackup)
	}
	if n := strings.Count(f.log.String(), `"left_out":1,"message":"backup written, but for messages that can't be read`); n != 2 {
		t.Errorf("the log says so %d times: %s", n, f.log.String())
	}
}
