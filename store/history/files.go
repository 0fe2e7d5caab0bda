package history

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/letterbox/store/vfs"
)

const (
	// partsOf is the least number of files that a series has when its share is spent, and maxPart the most that one holds,
	// in octets.
	partsOf = 16
	maxPart = 4 << 20
	suffix  = ".jsonl"
)

// The two series of files.
const (
	mailSeries    = "mail"
	refusedSeries = "refused"
)

// part is one file of a series.
type part struct {
	day  string
	n    int // from 1
	size int64
}

// before is negative where p stands before q, and 0 where both are the same.
func (p part) before(q part) int { return cmp.Or(strings.Compare(p.day, q.day), cmp.Compare(p.n, q.n)) }

// series is the files of one kind. Its methods are called by one goroutine at a time.
type series struct {
	fs    vfs.FS
	dir   string
	kind  string
	parts []part // in order
	total int64  // their octets

	file vfs.File // of open; nil while none is
	open part
	torn bool // the open file does not end with a line's end
}

func (s *series) name(p part) string {
	name := p.day + "." + s.kind
	if p.n > 1 {
		name += "." + strconv.Itoa(p.n)
	}
	return filepath.Join(s.dir, name+suffix)
}

// parse returns which part has a name, if it is one of this series.
func (s *series) parse(name string) (p part, ok bool) {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return p, false
	}
	date, rest, _ := strings.Cut(stem, ".")
	kind, number, numbered := strings.Cut(rest, ".")
	if _, err := time.Parse(time.DateOnly, date); err != nil || kind != s.kind {
		return p, false
	}
	n := 1
	if numbered {
		var err error
		if n, err = strconv.Atoi(number); err != nil || n < 2 || strconv.Itoa(n) != number {
			return p, false
		}
	}
	return part{day: date, n: n}, true
}

// load finds the files that are there. A folder that is not there holds none.
func (s *series) load() error {
	entries, err := s.fs.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		p, ok := s.parse(entry.Name())
		if !ok || !entry.Type().IsRegular() {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		p.size = info.Size()
		s.parts = append(s.parts, p)
		s.total += p.size
	}
	slices.SortFunc(s.parts, part.before)
	return nil
}

// write appends whole lines to the file of a day, and to the next ones where that has grown to its size, within share
// octets. After an error some of the lines may be missing.
func (s *series) write(day string, b []byte, share int64) error {
	most := min(share/partsOf, maxPart)
	for len(b) > 0 {
		room, err := s.ready(day, most)
		if err != nil {
			return err
		}
		n := len(b)
		if int64(n) > room {
			n = bytes.LastIndexByte(b[:max(room, 0)], '\n') + 1
		}
		if n == 0 && s.open.size > 0 {
			if err := s.next(day, s.open.n+1); err != nil {
				return err
			}
			continue
		}
		if n == 0 { // a line that is longer than a file should be
			n = bytes.IndexByte(b, '\n') + 1
		}
		for s.total+int64(n) > share && len(s.parts) > 1 {
			oldest := s.parts[0]
			if oldest.before(s.open) == 0 { // the clock went back
				oldest = s.parts[1]
			}
			if err := s.drop(oldest); err != nil {
				return err
			}
		}
		if err := s.append(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// ready opens the last file of a day, and returns how many octets it still takes.
func (s *series) ready(day string, most int64) (room int64, err error) {
	if s.file == nil || s.open.day != day {
		n := 1
		for _, p := range s.parts {
			if p.day == day {
				n = p.n
			}
		}
		if err := s.next(day, n); err != nil {
			return 0, err
		}
	}
	return most - s.open.size, nil
}

// next opens a file to append to.
func (s *series) next(day string, n int) error {
	s.close()
	p := part{day: day, n: n}
	file, err := s.fs.OpenFile(s.name(p), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if p.size, err = file.Size(); err != nil {
		return errors.Join(err, file.Close())
	}
	s.file, s.open, s.torn = file, p, false
	if p.size > 0 {
		var last [1]byte
		if _, err := file.ReadAt(last[:], p.size-1); err != nil || last[0] != '\n' {
			s.torn = true
		}
	}
	s.set(p)
	return nil
}

// set notes a part with its size.
func (s *series) set(p part) {
	at, there := slices.BinarySearchFunc(s.parts, p, part.before)
	if !there {
		s.parts = slices.Insert(s.parts, at, part{})
	}
	s.total += p.size - s.parts[at].size
	s.parts[at] = p
}

// append writes lines at the end of the open file. Of what could not be written nothing stays, or else the next write begins
// on a line of its own.
func (s *series) append(b []byte) error {
	bufs := [][]byte{b}
	if s.torn {
		bufs = [][]byte{[]byte("\n"), b}
	}
	err := s.file.WriteVec(bufs, s.open.size)
	if err != nil {
		err = errors.Join(err, s.file.Truncate(s.open.size))
		s.close()
		return err
	}
	for _, b := range bufs {
		s.open.size += int64(len(b))
	}
	s.torn = false
	s.set(s.open)
	return nil
}

// drop removes a file.
func (s *series) drop(p part) error {
	if s.file != nil && s.open.before(p) == 0 {
		s.close()
	}
	if err := s.fs.Remove(s.name(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if at, there := slices.BinarySearchFunc(s.parts, p, part.before); there {
		s.total -= s.parts[at].size
		s.parts = slices.Delete(s.parts, at, at+1)
	}
	return nil
}

// expire removes the files of days before one. What is of a day behind today was written while the clock was ahead, nobody knows
// when: it counts as today's from now on, or it would stay until its day has come.
func (s *series) expire(before, today string) error {
	for len(s.parts) > 0 && s.parts[0].day < before {
		if err := s.drop(s.parts[0]); err != nil {
			return err
		}
	}
	for {
		ahead := slices.IndexFunc(s.parts, func(p part) bool { return p.day > today })
		if ahead < 0 {
			return nil
		}
		n := 1
		if ahead > 0 && s.parts[ahead-1].day == today {
			n = s.parts[ahead-1].n + 1
		}
		if err := s.rename(ahead, part{day: today, n: n, size: s.parts[ahead].size}); err != nil {
			return err
		}
	}
}

// rename gives a file the name of another part, which stands where it stood.
func (s *series) rename(at int, to part) error {
	from := s.parts[at]
	if s.file != nil && s.open.before(from) == 0 {
		s.close()
	}
	err := s.fs.Rename(s.name(from), s.name(to))
	if errors.Is(err, fs.ErrNotExist) { // somebody removed it
		s.total -= from.size
		s.parts = slices.Delete(s.parts, at, at+1)
		return nil
	}
	if err == nil {
		s.parts[at] = to
	}
	return err
}

func (s *series) close() {
	if s.file != nil {
		s.file.Close() //nolint:errcheck // what it holds was written, and never synced
		s.file = nil
	}
}

// read returns what a part holds, in one piece; nothing where it is gone.
func (s *series) read(p part, buf []byte) ([]byte, error) {
	f, err := s.fs.OpenFile(s.name(p), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return buf[:0], nil
	}
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	size = min(size, maxPart+maxLine) // more was not written here
	buf = slices.Grow(buf[:0], int(size))[:size]
	n, err := f.ReadAt(buf, 0)
	if int64(n) < size {
		return nil, fmt.Errorf("history: %w", err)
	}
	return buf, nil
}
