package seglog

import (
	"errors"
	"io"
	"sync"
)

// A record of at most readAhead octets is read, checked and served with one call: most mail is smaller. Such a body is held
// in memory until Close; of a larger one nothing is.
const (
	readAhead  = 128 << 10
	readLittle = 8 << 10 // where the hint says that so much is enough
	// hintSlack is what a record may be longer than the hint: its header, and in its head the envelope and what other
	// recipients see.
	hintSlack = 1 << 10
)

// Reader is one record, opened for reading. It stays readable when its segment is unlinked, until Close.
type Reader struct {
	Header
	Pos  Pos
	Head []byte // valid until Close

	log     *Log
	seg     *segment // nil where span is not
	span    *span    // head and body lie in it, where it is not nil
	buf     *[]byte  // from the pool; nil unless head and body lie in it
	body    []byte   // the body where it lies in buf or span
	offset  int64    // of the body in its segment
	checked bool     // the body, which lies in memory
}

// bufferPool holds buffers of readLittle and of readAhead octets.
type bufferPool struct{ little, large sync.Pool }

func newBufferPool() *bufferPool {
	return &bufferPool{little: poolOf(readLittle), large: poolOf(readAhead)}
}

// poolOf returns a pool of buffers of so many octets.
func poolOf(size int) sync.Pool {
	return sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}
}

// get returns a buffer of at least so many octets, as far as there are such buffers.
func (p *bufferPool) get(size int64) *[]byte {
	if size <= readLittle {
		return p.little.Get().(*[]byte)
	}
	return p.large.Get().(*[]byte)
}

func (p *bufferPool) put(b *[]byte) {
	if len(*b) == readLittle {
		p.little.Put(b)
		return
	}
	p.large.Put(b)
}

// Read opens the record at pos. hint is about how long the record is, 0 when that is not known. The head is checked, the
// body is not: see Check.
func (l *Log) Read(pos Pos, hint int64) (*Reader, error) {
	seg, err := l.files.acquire(pos.Segment)
	if err != nil {
		return nil, err
	}
	r := &Reader{Pos: pos, log: l, seg: seg}
	if err := r.open(hint); err != nil {
		r.Close() //nolint:errcheck // it never fails
		return nil, err
	}
	return r, nil
}

func (r *Reader) open(hint int64) error {
	want := hint + hintSlack
	switch {
	case hint == 0:
		want = readAhead
	case want > readAhead:
		want = readLittle // the head; the body will not fit anyhow
	}
	r.buf = r.log.buffers.get(want)
	buf := (*r.buf)[:max(want, min(readLittle, 4<<10))]
	n, err := r.seg.file.ReadAt(buf, r.Pos.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	seal, err := r.log.sealer()
	if err != nil {
		return err
	}
	defer r.log.seals.Put(seal)
	if err := r.header(buf[:n], seal); err != nil {
		return err
	}
	if err := r.split(buf[recordHeader:n]); err != nil {
		return err
	}
	return r.checkHead()
}

// header takes the record's header from what stands at r.Pos.
func (r *Reader) header(buf []byte, seal *sealer) error {
	err := r.parse(buf, r.Pos, seal, r.log.opt.Flags)
	if errors.Is(err, errNoRecord) {
		return &Corrupt{Pos: r.Pos, Reason: "no valid record, though the index names one"}
	}
	r.offset = r.Pos.Offset + recordHeader + int64(r.HeadLen)
	return err
}

func (r *Reader) checkHead() error {
	if checksum(r.Head) != r.headSum {
		return &Corrupt{Pos: r.Pos, ID: r.ID, Reason: "the checksum of its head does not match"}
	}
	return nil
}

// whole takes all of the record from what stands at r.Pos and checks it. It fails where head and body don't lie in there whole, too.
//
// It does without the seal, a third of what all this costs: that tells a record from mail that looks like one, and who comes here has
// the place from the index. What else the header says is held by the checksums, by the id, and by what the index knows of the lengths.
func (r *Reader) whole(buf []byte) bool {
	if r.header(buf, nil) != nil || r.BodyLen == 0 || uint64(len(buf)-recordHeader) < uint64(r.HeadLen)+r.BodyLen {
		return false
	}
	r.Head, r.body = buf[recordHeader:][:r.HeadLen], buf[recordHeader+r.HeadLen:][:r.BodyLen]
	r.checked = r.checkHead() == nil && r.Check() == nil
	return r.checked
}

// split takes head and body from what came behind the header. Unless the body came whole, none of it is kept, and the
// buffer goes back: a slow reader of a large body holds no more than its head.
func (r *Reader) split(rest []byte) error {
	if r.BodyLen > 0 && uint64(len(rest)) >= uint64(r.HeadLen)+r.BodyLen {
		r.Head, r.body = rest[:r.HeadLen], rest[r.HeadLen:][:r.BodyLen]
		return nil
	}
	r.Head = make([]byte, r.HeadLen)
	if n := copy(r.Head, rest); n < len(r.Head) {
		if _, err := r.seg.file.ReadAt(r.Head[n:], r.Pos.Offset+recordHeader+int64(n)); err != nil {
			return err
		}
	}
	r.log.buffers.put(r.buf)
	r.buf = nil
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

// Body returns the body, valid until Close, when it lies in memory.
func (r *Reader) Body() (body []byte, ok bool) {
	return r.body, uint64(len(r.body)) == r.BodyLen
}

// Check reads the whole body and returns a *Corrupt error when it is not what was written.
func (r *Reader) Check() error {
	if r.checked {
		return nil
	}
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
	own := r.log.buffers.get(readAhead)
	defer r.log.buffers.put(own)
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
	}
	if r.span != nil {
		r.span.release()
	}
	if r.buf != nil {
		r.log.buffers.put(r.buf)
	}
	r.seg, r.span, r.buf, r.Head, r.body = nil, nil, nil, nil, nil
	return nil
}

// sealer returns one of a pool: checking a seal is not safe for concurrent use.
func (l *Log) sealer() (*sealer, error) {
	if s, ok := l.seals.Get().(*sealer); ok {
		return s, nil
	}
	return newSealer(l.opt.Key)
}
