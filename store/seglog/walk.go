package seglog

import (
	"errors"
	"io"
	"io/fs"
	"slices"

	"example.org/letterbox/store/vfs"
)

// Sealed returns the numbers and sizes of the sealed segments, ascending by number.
func (l *Log) Sealed() ([]SegmentInfo, error) {
	l.files.mu.Lock()
	head := l.files.head
	var numbers []uint64
	for n := range l.files.have {
		if n < head {
			numbers = append(numbers, n)
		}
	}
	l.files.mu.Unlock()
	slices.Sort(numbers)
	infos := make([]SegmentInfo, 0, len(numbers))
	for _, n := range numbers {
		seg, err := l.files.acquire(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // dropped meanwhile
		}
		if err != nil {
			return nil, err
		}
		size, err := seg.file.Size()
		l.files.release(seg)
		if err != nil {
			return nil, err
		}
		infos = append(infos, SegmentInfo{n, size})
	}
	return infos, nil
}

// SegmentInfo is one sealed segment.
type SegmentInfo struct {
	Number uint64
	Size   int64 // octets of the file
}

// Has tells whether the log still has a segment.
func (l *Log) Has(number uint64) bool {
	l.files.mu.Lock()
	defer l.files.mu.Unlock()
	return l.files.have[number]
}

// Walk calls f for each record of a segment that stands in front of end, in order; 0 stands for the end of a sealed segment.
// head is valid during the call.
func (l *Log) Walk(number uint64, end int64, f func(h *Header, pos Pos, head []byte) error) error {
	return l.walk(number, end, nil, func(sc *scanner, rec *found) error {
		head, err := sc.head(rec)
		if err != nil {
			return err
		}
		return f(&rec.Header, rec.pos, head)
	})
}

// WalkWhole is Walk that reads the bodies too, and tells of each whether it is what was written. While busy says that others use
// the disk the system reads nothing ahead: it takes megabytes at once, which an fdatasync would wait for.
func (l *Log) WalkWhole(number uint64, end int64, busy func() bool, f func(h *Header, pos Pos, head []byte, intact bool) error) error {
	return l.walk(number, end, busy, func(sc *scanner, rec *found) error {
		head, intact, err := sc.whole(rec)
		if err != nil {
			return err
		}
		return f(&rec.Header, rec.pos, head, intact)
	})
}

func (l *Log) walk(number uint64, end int64, busy func() bool, each func(sc *scanner, rec *found) error) error {
	seg, err := l.files.acquire(number)
	if err != nil {
		return err
	}
	defer l.files.release(seg)
	if end == 0 {
		if end, err = seg.file.Size(); err != nil {
			return err
		}
	}
	seal, err := newSealer(l.opt.Key)
	if err != nil {
		return err
	}
	file, err := l.files.inOrder(number)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was read only
	sc := &scanner{file: file, number: number, end: end, seal: seal, flags: l.opt.Flags, busy: busy, off: segmentHeader}
	rec := new(found)
	for {
		err := sc.next(rec)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, errNoRecord) {
			return &Corrupt{Pos: Pos{number, sc.off}, Reason: "no valid record, though it was acknowledged"}
		}
		if err != nil {
			return err
		}
		if err := each(sc, rec); err != nil {
			return err
		}
	}
}

// WillNeed tells the system to begin to read a part of a segment; it is a hint.
func (l *Log) WillNeed(pos Pos, octets int64) {
	if seg, err := l.files.acquire(pos.Segment); err == nil {
		vfs.WillNeed(seg.file, pos.Offset, octets)
		l.files.release(seg)
	}
}

// AppendAll is Append for several records. Where they fit into one group they share it: a write that fails then leaves none of
// them. It returns the first error; records without one are durable.
func (l *Log) AppendAll(records []*Record) error {
	if len(records) == 0 {
		return nil
	}
	size := int64(0)
	for _, r := range records {
		if err := r.Prepare(); err != nil {
			return err
		}
		size += r.Header.Size()
	}
	heads := records
	if len(records) <= l.opt.GroupRecords && size <= l.groupBound() {
		heads = records[:1]
		records[0].with = records[1:]
	}
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return ErrClosed
	}
	for _, r := range heads {
		l.queue <- r
	}
	l.mu.RUnlock()
	var first error
	for _, r := range records {
		if err := <-r.done; err != nil && first == nil {
			first = err
		}
	}
	return first
}
