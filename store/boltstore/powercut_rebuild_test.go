package boltstore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"example.org/letterbox/store/vfs/vfstest"
)

// rebuilding records a rebuild: when the index got its name, and what it held then.
type rebuilding struct {
	*vfstest.Recorder
	index          []byte
	named, durable int // in numbers of recorded changes: it may have its name from the one on, and has it from the other on
}

func (b *rebuilding) Rename(from, to string) (err error) {
	if filepath.Base(to) == indexFile {
		b.named = b.Len()
		if b.index, err = os.ReadFile(from); err != nil {
			return err
		}
	}
	return b.Recorder.Rename(from, to)
}

func (b *rebuilding) SyncDir(name string) error {
	err := b.Recorder.SyncDir(name)
	if b.index != nil && b.durable == 0 {
		b.durable = b.Len()
	}
	return err
}

// cut opens the store as a loss of power in the rebuild leaves it. Nothing of the index is synced before its name may be there: until
// then any of its pages may have reached the disk, and afterwards all of them have.
func (b *rebuilding) cut(r *recording, name string, n int, keep vfstest.Keep) {
	dir, err := os.MkdirTemp(r.scratch, "rebuild")
	if err != nil {
		r.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := b.Cut(dir, n, keep); err != nil {
		r.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "accounts.db"), r.accounts, 0o600)
	switch {
	case n >= b.durable, n > b.named && keep():
		err = os.WriteFile(filepath.Join(dir, indexFile), b.index, 0o600)
	case keep():
		err = os.WriteFile(filepath.Join(dir, unfinishedIndex), torn(b.index, keep), 0o600)
	}
	if err != nil {
		r.Fatal(err)
	}
	r.check(name, n, dir)
}

// torn returns some pages of a file, and zeros in the place of the others.
func torn(file []byte, keep vfstest.Keep) []byte {
	file = bytes.Clone(file)
	for page := range slices.Chunk(file, os.Getpagesize()) {
		if !keep() {
			clear(page)
		}
	}
	return file
}

// TestPowerCutInARebuild: wherever power fails while the index is built anew, the store opens and holds all that was acknowledged.
func TestPowerCutInARebuild(t *testing.T) {
	r := record(t)
	if t.Failed() {
		return
	}
	if err := os.Remove(filepath.Join(r.dir, indexFile)); err != nil { // it is none of what was recorded
		t.Fatal(err)
	}
	b := &rebuilding{Recorder: r.rec}
	began := b.Len()
	s, err := Open(r.dir, Options{FS: b, SegmentBytes: 24 << 10, reclaimInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ended := b.Len()
	if err := s.Close(); err != nil || b.index == nil || b.durable <= b.named {
		t.Fatalf("named after %d changes and durable after %d: %v", b.named, b.durable, err)
	}
	seeds := 3
	if os.Getenv("LETTERBOX_LONG") != "" {
		seeds = 30
	}
	for n := began; n <= ended; n++ {
		b.cut(r, "nothing", n, vfstest.Nothing)
		b.cut(r, "everything", n, vfstest.Everything)
		for seed := range seeds {
			b.cut(r, fmt.Sprintf("choice %d", seed), n, vfstest.Some(uint64(seed)))
		}
	}
}
