package app

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/vfs"
)

// silentFS is the disk of a server that is away: what is asked of it has no answer until the test ends.
type silentFS struct {
	vfs.FS
	asked chan struct{}
	once  *sync.Once
	end   context.Context
	what  string
}

func (s silentFS) hang(what string) {
	if s.what == what {
		s.once.Do(func() { close(s.asked) })
		<-s.end.Done()
	}
}

func (s silentFS) ReadDir(name string) ([]fs.DirEntry, error) {
	s.hang("the list of the folder")
	return s.FS.ReadDir(name)
}

func (s silentFS) OpenFile(name string, flag int, mode os.FileMode) (vfs.File, error) {
	s.hang("a new file")
	return s.FS.OpenFile(name, flag, mode)
}

// Backups to a disk that does not answer hold up neither a start nor a stop: mail has nothing to do with them.
func TestBackupsToADiskThatIsSilent(t *testing.T) {
	for _, what := range []string{"the list of the folder", "a new file"} {
		t.Run(what, func(t *testing.T) {
			real, err := boltstore.Open(t.TempDir(), boltstore.Options{Create: true, Brief: true})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := &config.Config{}
			c.Backup.To, c.Backup.Every, c.Backup.Keep = t.TempDir(), time.Hour, 1
			var log bytes.Buffer
			s := &process{Options: Options{Config: c}, store: real, log: zerolog.New(zerolog.SyncWriter(&log))}
			b := newBackups(real, backupPlan(c), s.log)
			b.fs = silentFS{vfs.OS{}, make(chan struct{}), new(sync.Once), ctx, what}
			b.patience = 50 * time.Millisecond

			took := func(f func()) time.Duration {
				done := make(chan struct{})
				began := time.Now()
				go func() {
					defer close(done)
					f()
				}()
				select {
				case <-done:
				case <-time.After(time.Minute):
					cancel()
					t.Errorf("it waits")
					<-done
				}
				return time.Since(began)
			}
			took(func() { s.keepBackups(b) })
			<-b.fs.(silentFS).asked
			took(func() { err = s.stop() })
			if err != nil {
				t.Errorf("a stop: %v", err)
			}
			if err := real.Close(); err != nil {
				t.Errorf("the store: %v", err)
			}
			if !strings.Contains(log.String(), "does not answer") {
				t.Errorf("nobody is told:\n%s", &log)
			}
		})
	}
}

// What is asked of a disk has an end also where it does not come back.
func TestPatiently(t *testing.T) {
	wrong := errors.New("wrong")
	if err := patiently(time.Minute, func() error { return wrong }); !errors.Is(err, wrong) {
		t.Error(err)
	}
	end := make(chan struct{})
	defer close(end)
	if err := patiently(time.Millisecond, func() error { <-end; return nil }); !errors.Is(err, errSilent) {
		t.Error(err)
	}
}
