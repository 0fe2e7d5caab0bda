package seglog

import (
	"errors"
	"os"
	"sync/atomic"

	"example.org/letterbox/store/vfs"
)

const (
	// writerBytes is how much a Writer writes at once, and writerBuffers how many such buffers it has: one is filled, one is
	// written, and one waits.
	writerBytes   = 1 << 20
	writerBuffers = 3
)

// Writer writes a log anew, for somebody who has all of its records: in large writes, in the background, and with one fdatasync for each
// segment, while the next one is filled. What it wrote is a log once Finish returned; a folder in which it did not come so far may hold a
// part of one, and is to be thrown away. Its methods are for one goroutine.
type Writer struct {
	dir  string
	opt  Options
	seal *sealer

	file vfs.File  // nil before the first record
	head segHeader // of file
	end  Mark
	buf  []byte // what stands in front of end and was not handed on yet

	pieces chan piece
	empty  chan []byte
	full   chan writtenSegment
	done   chan struct{}
	failed atomic.Pointer[error] // the first of what goes on in the background
}

// piece is a part of a segment on its way to the file.
type piece struct {
	file vfs.File
	b    []byte
	off  int64
	last *segHeader // not nil: it ends the segment, which gets this header
}

// writtenSegment is a segment that is whole but for its fdatasync.
type writtenSegment struct {
	file   vfs.File
	number uint64
}

// Create begins a log in dir, which holds none, or one without a record. Of the options it takes FS, Store, Key, SegmentBytes, Totals and
// Note. Finish or Abort must follow.
func Create(dir string, opt Options) (*Writer, error) {
	opt.defaults()
	seal, err := newSealer(opt.Key)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		dir: dir, opt: opt, seal: seal, pieces: make(chan piece), empty: make(chan []byte, writerBuffers),
		full: make(chan writtenSegment), done: make(chan struct{}),
	}
	w.buf = make([]byte, 0, writerBytes)
	for range writerBuffers - 1 {
		w.empty <- make([]byte, 0, writerBytes)
	}
	go w.writePieces()
	go w.syncSegments()
	return w, nil
}

// Append puts a record behind those before and returns the place behind it. It sets Header and Pos; head and body are not kept, so r may
// be filled anew for the next one. An error may be that of a record before; after one there is only Abort.
func (w *Writer) Append(r *Record) (Mark, error) {
	if err := r.measure(); err != nil {
		return w.end, err
	}
	if err := w.err(); err != nil {
		return w.end, err
	}
	size := r.Header.Size()
	if w.file == nil || w.end.Offset > segmentHeader && w.end.Offset+size > w.opt.SegmentBytes {
		if err := w.roll(); err != nil {
			return w.end, err
		}
	}
	w.end.Seq++
	r.Pos, r.Header.Seq = w.end.Pos, w.end.Seq
	r.Header.durableTo = segmentHeader // the segment is born with all that it holds, as its own header says
	r.Header.put(r.raw[:], r.Pos, w.seal)
	w.end.Chain = chainOn(w.end.Chain, r.raw[:])
	w.put(r.raw[:])
	w.put(r.Head)
	for _, b := range r.Body {
		w.put(b)
	}
	return w.end, nil
}

// put takes octets that stand at the end.
func (w *Writer) put(b []byte) {
	for len(b) > 0 {
		n := min(len(b), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, b[:n]...)
		b = b[n:]
		w.end.Offset += int64(n)
		if len(w.buf) == cap(w.buf) {
			w.hand(nil)
		}
	}
}

// hand gives the buffer to the goroutine that writes, and takes another one. last ends the segment.
func (w *Writer) hand(last *segHeader) {
	w.pieces <- piece{w.file, w.buf, w.end.Offset - int64(len(w.buf)), last}
	w.buf = <-w.empty
}

// roll ends the segment under way, if there is one, and begins the next.
func (w *Writer) roll() error {
	w.seals()
	h := segHeader{store: w.opt.Store, number: w.end.Segment + 1, firstSeq: w.end.Seq + 1, totals: w.opt.Totals(), note: w.opt.Note(), prev: w.end}
	file, err := w.opt.FS.OpenFile(segmentName(w.dir, h.number)+temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w.file, w.head = file, h
	w.end = Mark{Pos: Pos{h.number, segmentHeader}, Seq: w.end.Seq}
	return nil
}

// seals ends the segment under way: nothing comes behind it.
func (w *Writer) seals() {
	if w.file == nil {
		return
	}
	h := w.head
	h.born = w.end.Offset
	w.hand(&h)
	w.file = nil
}

// Finish makes the log durable: each segment is synced, then gets its name, and last the folder is synced. It returns the end, from which
// Open may go on.
func (w *Writer) Finish() (Mark, error) {
	if w.err() == nil && w.end.Segment == 0 { // a log has a segment, also where that holds nothing
		if err := w.roll(); err != nil {
			w.fail(err)
		}
	}
	w.seals()
	close(w.pieces)
	<-w.done
	if err := w.err(); err != nil {
		return w.end, err
	}
	return w.end, w.opt.FS.SyncDir(w.dir)
}

// Abort ends the writing. What was written stays in the folder.
func (w *Writer) Abort() {
	w.fail(errors.New("broken off"))
	w.Finish() //nolint:errcheck // it fails
}

// writePieces is the goroutine that writes.
func (w *Writer) writePieces() {
	defer close(w.full)
	sealer := w.headerSealer()
	for p := range w.pieces {
		if w.err() == nil {
			w.fail(p.file.WriteVec([][]byte{p.b}, p.off))
		}
		w.empty <- p.b[:0]
		if p.last == nil {
			continue
		}
		if w.err() == nil {
			w.fail(p.file.WriteVec([][]byte{p.last.encode(sealer)}, 0))
		}
		w.full <- writtenSegment{p.file, p.last.number}
	}
}

// headerSealer is another one than that of the records, which another goroutine uses at the same time.
func (w *Writer) headerSealer() *sealer {
	s, err := newSealer(w.opt.Key)
	w.fail(err) // it did not with the same key before
	return s
}

// syncSegments is the goroutine that makes segments durable, one beside the writing of the next.
func (w *Writer) syncSegments() {
	defer close(w.done)
	for s := range w.full {
		if w.err() == nil {
			w.fail(s.file.Sync())
			vfs.Forget(s.file) // a log that is larger than the memory is not worth what else is there
		}
		w.fail(s.file.Close())
		if name := segmentName(w.dir, s.number); w.err() == nil {
			w.fail(w.opt.FS.Rename(name+temporary, name))
		}
	}
}

// fail keeps the first error; nil is none.
func (w *Writer) fail(err error) {
	if err != nil {
		w.failed.CompareAndSwap(nil, &err)
	}
}

func (w *Writer) err() error {
	if err := w.failed.Load(); err != nil {
		return *err
	}
	return nil
}
