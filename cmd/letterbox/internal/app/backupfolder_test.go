package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/letterbox/cmd/letterbox/internal/config"
)

// The folder of the backups is outside of the data folder, however it is named, and can be written.
func TestCheckBackups(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(data, "backups"), 0o700), os.Mkdir(filepath.Join(dir, "out"), 0o700), os.Mkdir(filepath.Join(dir, "database"), 0o700),
		os.Symlink(filepath.Join(data, "backups"), filepath.Join(dir, "link")), os.Symlink(data, filepath.Join(dir, "same")),
		os.WriteFile(filepath.Join(dir, "file"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for to, want := range map[string]string{
		"": "", "out": "", "database": "", ".": "",
		"data": "lies in the data folder", "data/backups": "lies in the data folder", "data/not/there": "lies in the data folder",
		"link": "lies in the data folder", "same": "lies in the data folder", "out/../data/backups": "lies in the data folder",
		"away": "is not there: make that folder first", "file": "is no folder", "/proc": "can't be written",
	} {
		c := &config.Config{Data: data}
		switch {
		case filepath.IsAbs(to):
			c.Backup.To = to
		case to != "":
			c.Backup.To = dir + "/" + to
		}
		err := CheckBackups(c)
		switch {
		case to == "/proc" && os.Geteuid() == 0: // whom nothing is denied
		case want == "" && err == nil:
		case want == "" || err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%q: %v, want %q", to, err, want)
		}
	}
}
