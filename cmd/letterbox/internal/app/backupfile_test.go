package app

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/vfs"
)

// A backup holds everybody's mail and the hashes of their passwords. What somebody else put where it is written, a link, a file
// of a mode of their own or one that they hold open, gets none of it and is not written to.
func TestBackupFileIsOurs(t *testing.T) {
	for what, put := range map[string]func(victim, name string) error{
		"a symbolic link":         os.Symlink,
		"a hard link":             os.Link,
		"a link to nothing":       func(victim, name string) error { return os.Symlink(victim+"-to-be", name) },
		"a file that is readable": func(_, name string) error { return os.WriteFile(name, []byte("half"), 0o666) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			victim, name := filepath.Join(dir, "victim"), filepath.Join(dir, "backup")
			if err := errors.Join(os.WriteFile(victim, []byte("mine"), 0o600), put(victim, name+backupUnfinished)); err != nil {
				t.Fatal(err)
			}
			begun, err := NewBackupFile(name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = begun.Write([]byte("everybody's mail"))
			if info, statErr := os.Lstat(name + backupUnfinished); statErr != nil || info.Mode() != 0o600 {
				t.Errorf("it is written to %v, %v", info.Mode(), statErr)
			}
			if text, readErr := os.ReadFile(victim); err != nil || readErr != nil || string(text) != "mine" {
				t.Errorf("the other file holds %q: %v %v", text, err, readErr)
			}
			if _, err := os.Lstat(victim + "-to-be"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file was made elsewhere: %v", err)
			}
			if err := begun.Finish(t.Context(), store.BackupReport{}, errors.New("enough")); err == nil {
				t.Error("no error came back")
			}
			if _, err := os.Lstat(name + backupUnfinished); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is left: %v", err)
			}
		})
	}
}

// between is the moment between the making of a backup's file and its lock, in which another begins one of the same name.
type between struct {
	vfs.OS
	other func()
}

func (b *between) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	file, err := b.OS.OpenFile(name, flag, perm)
	b.other()
	return file, err
}

// Two backups of one name that begin in the same moment: one of them is refused, and leaves the other's file.
func TestBackupFilesAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "backup")
	for what, other := range map[string]func() (close func() error, err error){
		"and locks its own": func() (func() error, error) {
			second, err := newBackupFile(vfs.OS{}, name, 0)
			if err != nil {
				return nil, err
			}
			return func() error { second.Finish(t.Context(), store.BackupReport{}, errors.New("enough")); return nil }, nil //nolint:errcheck // it gives that error back
		},
		"and locks it later": func() (func() error, error) {
			err := errors.Join(os.Remove(name+backupUnfinished), os.WriteFile(name+backupUnfinished, nil, 0o600))
			return func() error { return os.Remove(name + backupUnfinished) }, err
		},
	} {
		var done func() error
		_, err := newBackupFile(&between{other: func() {
			var err error
			if done, err = other(); err != nil {
				t.Fatalf("%s: the other: %v", what, err)
			}
		}}, name, 0)
		if !errors.Is(err, errBusy) {
			t.Errorf("%s: the first goes on: %v", what, err)
		}
		if _, err := os.Lstat(name + backupUnfinished); err != nil {
			t.Errorf("%s: the other's file: %v", what, err)
		}
		if err := done(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Two backups of one name at a time: the second is refused and takes nothing from the first.
func TestBackupFileTwice(t *testing.T) {
	s, err := boltstore.Open(t.TempDir(), boltstore.Options{Create: true, Brief: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	name := filepath.Join(t.TempDir(), "backup")
	first, err := NewBackupFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	report, err := s.Backup(t.Context(), &backup)
	if err != nil {
		t.Fatal(err)
	}
	half := backup.Len() / 2
	if _, err := first.Write(backup.Bytes()[:half]); err != nil {
		t.Fatal(err)
	}
	if _, err := NewBackupFile(name); !errors.As(err, new(*InputError)) {
		t.Errorf("the second: %v", err)
	}
	if _, err := first.Write(backup.Bytes()[half:]); err != nil {
		t.Fatal(err)
	}
	if err := first.Finish(t.Context(), report, nil); err != nil {
		t.Errorf("the first: %v", err)
	}
	if text, err := os.ReadFile(name); err != nil || !bytes.Equal(text, backup.Bytes()) {
		t.Errorf("%d octets of %d, %v", len(text), backup.Len(), err)
	}
}
