package pop3d

import (
	"bytes"
	"io"
	"sync"
)

// outBuffer is what a session holds while it writes, and the most that a client that does not read can cost but for one of
// the few wide buffers. It is given back while the session waits for a command.
//
// What outgrows it, other than a message that would outgrow a wide buffer, too, gets one of those while there are some: one
// write of 75 KiB costs two thirds of what three cost.
const (
	outBuffer   = 32 << 10
	wideBuffer  = 128 << 10
	wideBuffers = 64 // of all sessions together
)

// skew is how far into a page a buffer begins. AMD's processors take twice as long to copy from one page to another where what is
// written lies a few octets further into its page than what is read, and so it is from the beginning of a page to a socket: 46 µs
// in place of 24 for a write of 75 KiB.
const skew = 512

// slabs is where sessions get their buffers.
type slabs struct {
	narrow, wide sync.Pool     // of *[]byte
	taken        chan struct{} // holds one element for each wide buffer in use
}

func newSlabs() *slabs {
	of := func(size int) sync.Pool {
		return sync.Pool{New: func() any {
			b := make([]byte, size+skew)[skew:]
			return &b
		}}
	}
	return &slabs{narrow: of(outBuffer), wide: of(wideBuffer), taken: make(chan struct{}, wideBuffers)}
}

// getWide returns nil when all wide buffers are in use.
func (s *slabs) getWide() *[]byte {
	select {
	case s.taken <- struct{}{}:
		return s.wide.Get().(*[]byte)
	default:
		return nil
	}
}

func (s *slabs) put(b *[]byte) {
	if len(*b) == wideBuffer {
		s.wide.Put(b)
		<-s.taken
		return
	}
	s.narrow.Put(b)
}

// writer gathers replies until the session has nothing left to do but wait (RFC 2449 section 6.6). Its errors stick: after
// one, everything written is dropped.
type writer struct {
	dst     io.Writer
	pool    *slabs
	slab    *[]byte
	buf     []byte // what waits, in slab
	err     error
	flushes int
	octets  int64     // written to dst
	vector  [3][]byte // of one direct
	// huge tells that the message under way would outgrow a wide buffer.
	huge bool
	// message tells that buf holds octets of a message, or that such octets could not be written.
	message bool
	// lineStart tells that the last octet of the message under way ended a line.
	lineStart bool
}

// ensure makes room for n octets, which are at most outBuffer.
func (w *writer) ensure(n int) {
	if w.slab == nil {
		w.slab = w.pool.narrow.Get().(*[]byte)
		w.buf = (*w.slab)[:0]
	}
	if cap(w.buf)-len(w.buf) < n && !w.widen() {
		_ = w.flush() // sticks
	}
}

// widen puts a wide buffer in the place of the narrow one.
func (w *writer) widen() bool {
	if w.huge || len(*w.slab) == wideBuffer || w.err != nil {
		return false
	}
	wide := w.pool.getWide()
	if wide == nil {
		return false
	}
	w.buf = append((*wide)[:0], w.buf...)
	w.pool.put(w.slab)
	w.slab = wide
	return true
}

// flush writes what waits.
func (w *writer) flush() error {
	if len(w.buf) == 0 || w.err != nil {
		w.buf = w.buf[:0]
		return w.err
	}
	n, err := w.dst.Write(w.buf)
	w.flushed(int64(n), err)
	return err
}

// flushed notes that what waited went out, or what was left of it did not.
func (w *writer) flushed(n int64, err error) {
	w.octets += n
	w.buf, w.err = w.buf[:0], err
	w.message = w.message && err != nil
	w.flushes++
}

// release gives the buffer back. What waits is dropped, so it is called after flush.
func (w *writer) release() {
	if w.slab != nil {
		w.pool.put(w.slab)
		w.slab, w.buf = nil, nil
	}
}

// text adds s, which is at most 512 octets (RFC 1939 section 3).
func (w *writer) text(s string) {
	w.ensure(len(s))
	w.buf = append(w.buf, s...)
}

// dot ends a multi-line reply (RFC 1939 section 3).
func (w *writer) dot() { w.text(".\r\n") }

// place is a point in the stream of replies.
type place struct{ flushes, length int }

// mark returns the present place, with room behind it for the first line of a reply.
func (w *writer) mark() place {
	w.ensure(outBuffer / 2)
	return place{w.flushes, len(w.buf)}
}

// rollback takes back what was added since p. It fails when some of it is gone.
func (w *writer) rollback(p place) bool {
	if w.err != nil || w.flushes != p.flushes {
		return false
	}
	w.buf = w.buf[:p.length]
	return true
}

// beginMessage makes the next octets the first of a message of so many octets.
func (w *writer) beginMessage(octets int64) {
	w.lineStart, w.message = true, true
	w.huge = octets > wideBuffer
	if w.huge && w.slab != nil && len(*w.slab) == wideBuffer {
		_ = w.flush() // sticks
		w.release()   // a client that is slow with it is not to hold so much
	}
}

// space returns room for at most n octets of a message, to be read into and then handed to stuff. It leaves room for
// the dots: a line is at least two octets long with its end, so there is at most one dot for every two octets and one
// more at the front.
func (w *writer) space(n int) []byte {
	w.ensure(outBuffer / 2)
	room := (cap(w.buf) - len(w.buf) - 1) * 2 / 3
	return w.buf[len(w.buf):][:min(room, n)]
}

// stuff takes the first n octets of space into the reply and doubles each dot that begins a line (RFC 1939 section 3). It
// does so in place; most messages hold no such dot and are not copied at all.
func (w *writer) stuff(n int) {
	if n == 0 {
		return
	}
	from := len(w.buf)
	chunk := w.buf[from : from+n]
	first := w.lineStart && chunk[0] == '.'
	w.lineStart = chunk[n-1] == '\n'
	w.message = true
	var known firstDots
	dots := countDots(chunk, &known)
	if first {
		dots++
	}
	w.buf = w.buf[:from+n+dots]
	// From the back, each piece that begins with a dot moves by the number of dots still to come in front of it.
	for end := from + n; dots > 0; dots-- {
		at := from + known.nth(chunk[:end-from], dots, first)
		copy(w.buf[at+dots:], w.buf[at:end])
		w.buf[at+dots-1] = '.'
		end = at
	}
}

// firstDots is where the first dots behind a line end stand that countDots found: most messages have no more.
type firstDots [16]int

// nth returns where the dot stands that is the n-th of those to double, and the last one in chunk. first tells that the first of
// them begins chunk, and no line end stands in front of it.
func (d *firstDots) nth(chunk []byte, n int, first bool) int {
	if first {
		n--
	}
	switch {
	case n == 0:
		return 0
	case n <= len(d):
		return d[n-1]
	}
	return bytes.LastIndex(chunk, []byte("\n.")) + 1
}

// countDots counts the dots behind a line end and notes where the first of them stand. It looks for the dots first: an attachment in
// base64, which most octets of mail are, has none.
func countDots(chunk []byte, where *firstDots) int {
	count := 0
	for at := 0; ; at++ {
		i := bytes.IndexByte(chunk[at:], '.')
		if i < 0 {
			return count
		}
		at += i
		if at > 0 && chunk[at-1] == '\n' {
			if count < len(where) {
				where[count] = at
			}
			count++
		}
	}
}

// endMessage ends a message: a client that finds no line end before the dot would wait for ever.
func (w *writer) endMessage() {
	if !w.lineStart {
		w.text("\r\n")
	}
	w.dot()
	w.huge = false
}
