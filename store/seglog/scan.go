package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"example.org/letterbox/store/vfs"
)

// scanWindow is what a scanner reads at once, and all that it holds beside one head.
const scanWindow = 256 << 10

// scanner reads the records of one segment in order, in large reads.
type scanner struct {
	file   vfs.File
	number uint64
	end    int64 // nothing is read behind it
	seal   *sealer
	flags  uint16

	busy   func() bool // nil, or whether others use the disk: then nothing is read ahead
	spares bool        // what it said last
	ahead  *forerunner // nil, or has the file read ahead

	off int64 // of the next record
	buf []byte
	at  int64 // offset of buf[0]
}

// window returns n octets at off, or what there is of them before the end. They are valid until the next call.
func (s *scanner) window(off int64, n int) ([]byte, error) {
	if off >= s.at && off+int64(n) <= s.at+int64(len(s.buf)) {
		return s.buf[off-s.at:][:n], nil
	}
	want := min(max(int64(n), scanWindow), s.end-off)
	if want <= 0 {
		return nil, nil
	}
	if int64(cap(s.buf)) < want {
		s.buf = make([]byte, want)
	}
	s.buf, s.at = s.buf[:want], off
	if s.busy != nil && s.busy() != s.spares {
		s.spares = !s.spares
		vfs.Sequential(s.file, !s.spares)
	}
	s.ahead.reached(off)
	got, err := s.file.ReadAt(s.buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.buf = s.buf[:0]
		return nil, err
	}
	s.buf = s.buf[:got]
	return s.buf[:min(n, got)], nil
}

// found is one record that a scanner came by.
type found struct {
	Header
	pos Pos
	raw [recordHeader]byte
}

// next puts the record at s.off into f and moves behind it. errNoRecord: there is none here. io.EOF: the end is reached.
func (s *scanner) next(f *found) error {
	if s.off >= s.end {
		return io.EOF
	}
	raw, err := s.window(s.off, recordHeader)
	if err != nil {
		return err
	}
	f.pos = Pos{s.number, s.off}
	if err := f.parse(raw, f.pos, s.seal, s.flags); err != nil {
		return err
	}
	if s.off+f.Size() > s.end {
		return errNoRecord
	}
	copy(f.raw[:], raw)
	s.off += f.Size()
	return nil
}

// head returns the head of f, checked. It is valid until the next call.
func (s *scanner) head(f *found) ([]byte, error) {
	head, err := s.window(f.pos.Offset+recordHeader, int(f.HeadLen))
	if err != nil {
		return nil, err
	}
	if len(head) != int(f.HeadLen) || checksum(head) != f.headSum {
		return nil, &Corrupt{Pos: f.pos, ID: f.ID, Reason: "the checksum of its head does not match"}
	}
	return head, nil
}

// intact tells whether head and body of f are what was written.
func (s *scanner) intact(f *found) (bool, error) {
	if _, err := s.head(f); err != nil {
		var corrupt *Corrupt
		if errors.As(err, &corrupt) {
			return false, nil
		}
		return false, err
	}
	return s.intactBody(f)
}

// whole is head, and tells whether the body is what was written.
func (s *scanner) whole(f *found) (head []byte, intact bool, err error) {
	if f.length > scanWindow {
		if head, err = s.head(f); err == nil {
			head = bytes.Clone(head)
			intact, err = s.intactBody(f)
		}
		return head, intact, err
	}
	if _, err = s.window(f.pos.Offset+recordHeader, int(f.length)); err == nil {
		if intact, err = s.intactBody(f); err == nil { // out of that window, and so is the head
			head, err = s.head(f)
		}
	}
	return head, intact, err
}

func (s *scanner) intactBody(f *found) (bool, error) {
	off, left := f.pos.Offset+recordHeader+int64(f.HeadLen), int64(f.BodyLen)
	var sum uint32
	for left > 0 {
		part, err := s.window(off, int(min(left, scanWindow)))
		if err != nil {
			return false, err
		}
		if len(part) == 0 {
			return false, nil
		}
		sum = chainOn(sum, part)
		off += int64(len(part))
		left -= int64(len(part))
	}
	return sum == f.bodySum, nil
}

// durableClaim looks behind off for any valid record and returns the largest durable_to of them, 0 when there is none.
func (s *scanner) durableClaim(off int64) (largest int64, err error) {
	for {
		var h *Header
		if off, h, err = s.search(off); err != nil || h == nil {
			return largest, err
		}
		largest = max(largest, h.durableTo)
		off++
	}
}

// plausible tells at little cost whether a record's header may stand here: a seal costs as much as reading 5 KiB, and a
// sender can write the beginning of a header into his message as often as he likes.
func plausible(b []byte) bool {
	return len(b) >= recordHeader && b[4] == formatVersion && binary.LittleEndian.Uint32(b[60:]) == 0
}

// search returns the first valid record at off or behind it, and its place; nil when there is none. Each octet is read
// about once, whatever senders put into their messages.
func (s *scanner) search(off int64) (int64, *Header, error) {
	for off < s.end {
		part, err := s.window(off, int(min(scanWindow, s.end-off)))
		if err != nil || len(part) < recordHeader {
			return s.end, nil, err
		}
		for at := 0; ; at++ {
			i := bytes.Index(part[at:], []byte(recordMagic))
			if i < 0 {
				off += int64(max(1, len(part)-len(recordMagic)+1))
				break
			}
			if at += i; len(part)-at < recordHeader && at > 0 {
				off += int64(at) // read again with the whole header in the window
				break
			}
			if !plausible(part[at:]) {
				continue
			}
			h := new(Header)
			if h.parse(part[at:], Pos{s.number, off + int64(at)}, s.seal, s.flags) == nil {
				return off + int64(at), h, nil
			}
		}
	}
	return s.end, nil, nil
}
