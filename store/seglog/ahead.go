package seglog

import (
	"errors"
	"io"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// aheads is how many buffers of spanSize octets all Aheads of a log hold together: 8.25 MiB. Who finds none left reads
	// record by record.
	aheads = 64
	// aheadTime is how long an Ahead holds its buffers after it was last told what to read: a client that takes one message
	// after the other is through with it much sooner, and one that has gone to sleep needs none.
	aheadTime = time.Second
)

const (
	// MaxAhead is how many octets behind the beginning of the first record the last one may end, of those that are read ahead
	// in one piece.
	MaxAhead = readAhead
	// MaxAheadRecords is how many records these may be. It bounds what is kept of them beside the piece.
	MaxAheadRecords = 64
)

// A piece is read from the beginning of a page on: where both lie as far into their pages, a copy is quickest.
const (
	page     = 4 << 10
	spanSize = MaxAhead + page
)

// Ahead reads records before they are asked for, in one piece, for somebody who opens one after the other. It holds one buffer of
// spanSize octets at most, for a second or as long as a Reader is open in it.
//
// It gives out records that it was asked for and that are whole, head and body, and nothing else of what it read: what stands behind
// them may not be durable. Who has them in memory needs their segment no more.
type Ahead struct {
	log *Log

	mu    sync.Mutex
	held  *span       // nil when nothing is
	timer *time.Timer // lets go of held; nil before the first
}

// span is a piece of a segment in memory.
type span struct {
	log     *Log
	buf     *[]byte      // of spanSize octets
	records []Reader     // ascending, MaxAheadRecords at most; those that can't be given out have no body
	given   uint64       // by index, those that were; guarded by the Ahead's mutex
	users   atomic.Int32 // the Ahead, and the Readers that are open in it
}

// Ahead returns one that holds nothing.
func (l *Log) Ahead() *Ahead { return &Ahead{log: l} }

// Prepare reads the records at these places ahead, in the place of what was held. They are durable, in one segment and ascending,
// MaxAheadRecords at most; size is up to where behind the beginning of the first they reach, about, and MaxAhead at most. It does
// nothing when all buffers are taken.
func (a *Ahead) Prepare(at []Pos, size int64) {
	a.Release()
	select {
	case a.log.ahead <- struct{}{}:
	default:
		return
	}
	s := &span{log: a.log, buf: a.log.spans.Get().(*[]byte), records: make([]Reader, len(at))}
	s.users.Store(1)
	for i := range s.records {
		s.records[i].Pos, s.records[i].log = at[i], a.log
	}
	if !s.fill(size) {
		s.release()
		return
	}
	a.hold(s)
}

func (a *Ahead) hold(s *span) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held != nil { // somebody else was quicker
		a.held.release()
	}
	a.held = s
	if a.timer == nil {
		a.timer = time.AfterFunc(aheadTime, a.Release)
		return
	}
	a.timer.Reset(aheadTime)
}

// Release lets go of what is held.
func (a *Ahead) Release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held != nil {
		a.timer.Stop()
		a.held.release()
		a.held = nil
	}
}

// Low tells whether no more than a quarter of what was read ahead is left from pos on.
func (a *Ahead) Low(pos Pos) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.held.find(pos)
	return !ok || 4*(len(a.held.records)-i) <= len(a.held.records)
}

// Take opens the record at pos, all of it checked, if it was read ahead, once, and returns nil otherwise: the file then says what is
// wrong with it, if anything is.
func (a *Ahead) Take(pos Pos) *Reader {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.held.find(pos)
	if !ok {
		return nil
	}
	r := &a.held.records[i]
	a.held.given |= 1 << i
	a.held.users.Add(1)
	r.span = a.held
	return r
}

// find returns the index of the record at pos, if it can be given out.
func (s *span) find(pos Pos) (int, bool) {
	if s == nil {
		return 0, false
	}
	i := sort.Search(len(s.records), func(i int) bool { return !s.records[i].Pos.Before(pos) })
	return i, i < len(s.records) && s.records[i].Pos == pos && s.given>>i&1 == 0 && s.records[i].body != nil
}

// release is the end of one use. After the last one nothing points into the buffer, which is another's then.
func (s *span) release() {
	if s.users.Add(-1) > 0 {
		return
	}
	for i := range s.records {
		if s.given>>i&1 == 0 {
			s.records[i].Head, s.records[i].body = nil, nil
		}
	}
	s.log.spans.Put(s.buf)
	s.buf = nil
	<-s.log.ahead
}

// fill reads the piece and checks the records. One that is damaged or not whole in there is left to who reads it from the file.
func (s *span) fill(size int64) (ok bool) {
	from := s.records[0].Pos
	from.Offset &^= page - 1
	seg, err := s.log.files.acquire(from.Segment)
	if err != nil {
		return false
	}
	n, err := seg.file.ReadAt((*s.buf)[:min(s.records[0].Pos.Offset-from.Offset+size, spanSize)], from.Offset)
	s.log.files.release(seg)
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	for i := range s.records {
		r := &s.records[i]
		if at := r.Pos.Offset - from.Offset; at < int64(n) && !r.whole((*s.buf)[at:n]) {
			r.Head, r.body = nil, nil
		}
	}
	return true
}
