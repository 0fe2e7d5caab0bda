package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"example.org/letterbox/store/vfs"
)

// segment is one open file of the log. It stays readable while somebody holds it, also when it was unlinked.
type segment struct {
	number uint64
	file   vfs.File
	refs   int // guarded by segments.mu
}

// segments opens each file once and keeps it: a descriptor per 128 MiB of mail.
type segments struct {
	mu   sync.Mutex
	open map[uint64]*segment
	have map[uint64]bool // segments of the log
	head uint64          // the largest of them, which takes the records
	gone bool
	n    atomic.Int64 // of have: who counts them must not wait for a file that is opened
	path func(number uint64) string
	fs   vfs.FS
}

func (s *segments) count() int { return int(s.n.Load()) }

// acquire returns the segment for reading; release must follow.
func (s *segments) acquire(number uint64) (*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.open[number]
	if s.gone {
		return nil, ErrClosed
	}
	if !s.have[number] {
		return nil, &fs.PathError{Op: "open", Path: s.path(number), Err: fs.ErrNotExist}
	}
	if seg == nil {
		f, err := s.fs.OpenFile(s.path(number), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		seg = &segment{number: number, file: f, refs: 1}
		s.open[number] = seg
	}
	seg.refs++
	return seg, nil
}

// inOrder opens a segment to be read from its beginning to its end, by a descriptor of its own: how far the system reads ahead
// goes with the descriptor, and sessions read here and there.
func (s *segments) inOrder(number uint64) (vfs.File, error) {
	file, err := s.fs.OpenFile(s.path(number), os.O_RDONLY, 0)
	if err == nil {
		vfs.Sequential(file, true)
	}
	return file, err
}

func (s *segments) release(seg *segment) {
	s.mu.Lock()
	seg.refs--
	last := seg.refs == 0
	s.mu.Unlock()
	if last {
		seg.file.Close() //nolint:errcheck // it was read only, or synced
	}
}

// add keeps a segment that was just made.
func (s *segments) add(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.refs++
	s.open[seg.number] = seg
	s.have[seg.number] = true
	s.n.Store(int64(len(s.have)))
	s.head = max(s.head, seg.number)
}

// forget drops the log's own hold of a segment that is given up.
func (s *segments) forget(number uint64) {
	s.mu.Lock()
	delete(s.have, number)
	s.n.Store(int64(len(s.have)))
	seg := s.open[number]
	delete(s.open, number)
	s.mu.Unlock()
	if seg != nil {
		s.release(seg)
	}
}

// know says which segments there are, ascending.
func (s *segments) know(numbers []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range numbers {
		s.have[n] = true
		s.head = n
	}
	s.n.Store(int64(len(s.have)))
}

// close drops the log's own hold of each file; readers keep theirs.
func (s *segments) close() error {
	s.mu.Lock()
	s.gone = true
	var last []*segment
	for _, seg := range s.open {
		if seg.refs--; seg.refs == 0 {
			last = append(last, seg)
		}
	}
	s.open = nil
	s.mu.Unlock()
	var errs []error
	for _, seg := range last {
		errs = append(errs, seg.file.Close())
	}
	return errors.Join(errs...)
}

const temporary = vfs.Unfinished

// create makes a segment whole under a temporary name and then gives it its own: header, and what fill writes behind it.
func (l *Log) create(h segHeader, fill func(f vfs.File) error) (_ *segment, err error) {
	name := segmentName(l.dir, h.number)
	f, err := l.opt.FS.OpenFile(name+temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()                         //nolint:errcheck // it is thrown away
			l.opt.FS.Remove(name + temporary) //nolint:errcheck // the next open removes it
		}
	}()
	if err = f.WriteVec([][]byte{h.encode(l.seal)}, 0); err != nil {
		return nil, err
	}
	if fill != nil {
		if err = fill(f); err != nil {
			return nil, err
		}
	}
	if err = f.Sync(); err != nil {
		return nil, err
	}
	if err = l.opt.FS.Rename(name+temporary, name); err != nil {
		return nil, l.fail(err) // it may have taken place all the same, as below
	}
	if err = l.opt.FS.SyncDir(l.dir); err != nil {
		// The name may or may not be durable. Going on in either segment would be a guess.
		return nil, l.fail(err)
	}
	seg := &segment{number: h.number, file: f}
	l.files.add(seg)
	if size, sizeErr := f.Size(); sizeErr == nil {
		l.stats.bytes.Add(size)
	}
	return seg, nil
}

// list returns the numbers of the segments in dir, ascending, and removes what a crash left half made.
func list(fsys vfs.FS, dir string) ([]uint64, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		name := e.Name()
		if name == droppedFile {
			continue
		}
		if strings.HasSuffix(name, temporary) {
			if err := fsys.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		text, ok := strings.CutSuffix(name, ".seg")
		number, err := strconv.ParseUint(text, 10, 64)
		if !ok || err != nil || number == 0 || segmentName("", number) != name {
			return nil, fmt.Errorf("%s: not a segment of the log; move it elsewhere", filepath.Join(dir, name))
		}
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	return numbers, nil
}
