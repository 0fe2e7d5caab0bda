package boltstore

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

// maxInMemory is the size beyond which a body streams into a file of its own while it arrives.
const maxInMemory = 1 << 20

// unfinished ends the names of files that no record names yet.
const unfinished = vfs.Unfinished

// bodies is the folder of large bodies: one file each, named by the message's id.
type bodies struct {
	fs  vfs.FS
	dir string
}

func (b bodies) name(id store.ID) string { return filepath.Join(b.dir, id.String()) }

// external is what a record says of a body that is a file.
type external struct {
	size int64
	sum  uint32
}

// spool is a large body while it arrives.
type spool struct {
	bodies
	id  store.ID
	f   vfs.File
	got external
}

func (b bodies) create(id store.ID) (*spool, error) {
	f, err := b.fs.OpenFile(b.name(id)+unfinished, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &spool{bodies: b, id: id, f: f}, nil
}

func (s *spool) write(bufs ...[]byte) error {
	if err := s.f.WriteVec(bufs, s.got.size); err != nil {
		return err
	}
	for _, b := range bufs {
		s.got.size += int64(len(b))
		s.got.sum = crc32.Update(s.got.sum, castagnoli(), b)
	}
	return nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// finish makes the file durable under its name. Only then may a record name it.
func (s *spool) finish() error {
	err := s.settle()
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	return err
}

// settle is finish but for the folder, which is to be synced behind it.
func (s *spool) settle() error {
	err := s.f.Sync()
	if closeErr := s.f.Close(); err == nil {
		err = closeErr
	}
	s.f = nil
	if err == nil {
		err = s.fs.Rename(s.name(s.id)+unfinished, s.name(s.id))
	}
	return err
}

// discard removes the file, whatever name it has by now. What can't be removed goes at the next start.
func (s *spool) discard() {
	if s.f != nil {
		s.f.Close() //nolint:errcheck // it is thrown away
		s.f = nil
	}
	s.fs.Remove(s.name(s.id) + unfinished) //nolint:errcheck // as above
	s.fs.Remove(s.name(s.id))              //nolint:errcheck // as above
}

// remove unlinks bodies that no entry names any more; readers that hold one go on. It is called after the index was
// synced without them.
func (b bodies) remove(ids []store.ID) error {
	var errs []error
	for _, id := range ids {
		if err := b.fs.Remove(b.name(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// sweep removes the files that were never finished, and hands those that alive does not know to orphan.
func (b bodies) sweep(alive func(store.ID) (bool, error), orphan func(store.ID) error) error {
	entries, err := b.fs.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, left := strings.CutSuffix(e.Name(), unfinished)
		id, err := store.ParseID(text)
		if err != nil || id.String() != text {
			return fmt.Errorf("%s: not a body of the store; move it elsewhere", filepath.Join(b.dir, e.Name()))
		}
		if left {
			if err := b.fs.Remove(filepath.Join(b.dir, e.Name())); err != nil {
				return err
			}
			continue
		}
		keep, err := alive(id)
		if err == nil && !keep {
			err = orphan(id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// octets is the size of all files.
func (b bodies) octets(ctx context.Context) (sum int64, err error) {
	entries, err := b.fs.ReadDir(b.dir)
	for _, e := range entries {
		info, statErr := e.Info()
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case errors.Is(statErr, fs.ErrNotExist):
			continue // deleted meanwhile
		case statErr != nil:
			return 0, statErr
		}
		sum += info.Size()
	}
	return sum, err
}

// bodyReader is a message's body, in the log or in a file.
type bodyReader interface {
	io.ReaderAt
	io.Closer
}

// fileBody is a body in a file.
type fileBody struct {
	vfs.File
	rec *seglog.Reader
}

// Close closes the file and the record that names it.
func (b fileBody) Close() error { return errors.Join(b.File.Close(), b.rec.Close()) }

// open opens the body of a record and checks all of it.
func (b bodies) open(rec *seglog.Reader, want external, buffers *sync.Pool) (bodyReader, error) {
	f, err := b.fs.OpenFile(b.name(rec.ID), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &seglog.Corrupt{Pos: rec.Pos, ID: rec.ID, Reason: "the file of its body is gone"}
	}
	if err != nil {
		return nil, err
	}
	sum, err := sumOf(f, want.size, buffers)
	if err == nil && sum != want.sum {
		err = &seglog.Corrupt{Pos: rec.Pos, ID: rec.ID, Reason: "the checksum of its body does not match"}
	}
	if err != nil {
		f.Close() //nolint:errcheck // it was read only
		return nil, err
	}
	return fileBody{f, rec}, nil
}

func sumOf(f io.ReaderAt, size int64, buffers *sync.Pool) (uint32, error) {
	buf := buffers.Get().(*[nextPiece]byte)
	defer buffers.Put(buf)
	var sum uint32
	for off := int64(0); off < size; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		sum = crc32.Update(sum, castagnoli(), buf[:n])
		off += int64(n)
		if errors.Is(err, io.EOF) {
			break // shorter than it was: the checksum will not match
		}
		if err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// storeError turns a failure of the file system into what a receiver understands.
func storeError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}
