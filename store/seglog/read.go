package seglog

import (
	"errors"
	"io"
	"sync"
)

// readAhead is what Read takes in one call beside the record's header, when the caller's hint does not say less. A body
// that lies in it whole is checked and served without another call.
const readAhead = 64 << 10

// Reader is one record, opened for reading. It stays readable when its segment is unlinked, until Close.
type Reader struct {
	Header
	Pos  Pos
	Head []byte // valid until Close

	log    *Log
	seg    *segment
	buf    *[]byte // from the pool
	body   []byte  // what of the body came with the head
	offset int64   // of the body in its segment
}

// bufferPool holds buffers of recordHeader + readAhead octets.
type bufferPool struct{ sync.Pool }

func newBufferPool() *bufferPool {
	return &bufferPool{sync.Pool{New: func() any {
		b := make([]byte, recordHeader+readAhead)
		return &b
	}}}
}

// Read opens the record at pos. hint is about how long the record is, 0 when that is not known. The head is checked, the
// body is not: see Check.
func (l *Log) Read(pos Pos, hint int64) (*Reader, error) {
	seg, err := l.files.acquire(pos.Segment)
	if err != nil {
		return nil, err
	}
	r := &Reader{Pos: pos, log: l, seg: seg, buf: l.buffers.Get().(*[]byte)}
	if err := r.open(hint); err != nil {
		r.Close() //nolint:errcheck // it never fails
		return nil, err
	}
	return r, nil
}

func (r *Reader) open(hint int64) error {
	want := recordHeader + readAhead
	if hint > 0 {
		want = int(min(int64(want), max(hint, 4<<10)))
	}
	buf := (*r.buf)[:want]
	n, err := r.seg.file.ReadAt(buf, r.Pos.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	buf = buf[:n]
	seal, err := r.log.sealer()
	if err != nil {
		return err
	}
	err = r.parse(buf, r.Pos, seal, r.log.opt.Flags)
	r.log.seals.Put(seal)
	if errors.Is(err, errNoRecord) {
		return &Corrupt{Pos: r.Pos, Reason: "no valid record, though the index names one"}
	}
	if err != nil {
		return err
	}
	r.offset = r.Pos.Offset + recordHeader + int64(r.HeadLen)
	rest := buf[recordHeader:]
	if len(rest) < int(r.HeadLen) {
		r.Head = make([]byte, r.HeadLen)
		if _, err := r.seg.file.ReadAt(r.Head, r.Pos.Offset+recordHeader); err != nil {
			return err
		}
	} else {
		r.Head, r.body = rest[:r.HeadLen], rest[r.HeadLen:]
		r.body = r.body[:min(uint64(len(r.body)), r.BodyLen)]
	}
	if checksum(r.Head) != r.headSum {
		return &Corrupt{Pos: r.Pos, ID: r.ID, Reason: "the checksum of its head does not match"}
	}
	return nil
}

// ReadAt reads from the body. It implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(r.BodyLen) {
		return 0, io.EOF
	}
	short := int64(len(p)) > int64(r.BodyLen)-off
	if short {
		p = p[:int64(r.BodyLen)-off]
	}
	var n int
	var err error
	if off+int64(len(p)) <= int64(len(r.body)) {
		n = copy(p, r.body[off:])
	} else if n, err = r.seg.file.ReadAt(p, r.offset+off); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// Check reads the whole body and returns a *Corrupt error when it is not what was written.
func (r *Reader) Check() error {
	sum := checksum(r.body)
	if uint64(len(r.body)) < r.BodyLen {
		var err error
		if sum, err = r.sumFile(); err != nil {
			return err
		}
	}
	if sum != r.bodySum {
		return &Corrupt{Pos: r.Pos, ID: r.ID, Reason: "the checksum of its body does not match"}
	}
	return nil
}

func (r *Reader) sumFile() (uint32, error) {
	own := r.log.buffers.Get().(*[]byte)
	defer r.log.buffers.Put(own)
	var sum uint32
	for off := int64(0); off < int64(r.BodyLen); {
		n, err := r.ReadAt(*own, off)
		sum = chainOn(sum, (*own)[:n])
		off += int64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
	}
	return sum, nil
}

// Close gives the segment back. It is idempotent.
func (r *Reader) Close() error {
	if r.seg != nil {
		r.log.files.release(r.seg)
		r.log.buffers.Put(r.buf)
		r.seg, r.buf, r.Head, r.body = nil, nil, nil, nil
	}
	return nil
}

// sealer returns one of a pool: checking a seal is not safe for concurrent use.
func (l *Log) sealer() (*sealer, error) {
	if s, ok := l.seals.Get().(*sealer); ok {
		return s, nil
	}
	return newSealer(l.opt.Key)
}
