package seglog

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"example.org/letterbox/store/vfs"
)

// Defaults of Options.
const (
	DefaultSegmentBytes = 128 << 20
	DefaultGroupBytes   = 8 << 20
	DefaultGroupRecords = 1024
)

// Options configure a log. FS, Store, Key and Durable are needed.
type Options struct {
	FS    vfs.FS
	Store [16]byte // id of the store; a segment of another store is refused
	Key   []byte   // secret of this store, 16 to 64 octets
	Flags uint16   // record flags that the caller knows

	SegmentBytes int64 // a segment is sealed before it would grow beyond this; a larger record stands alone
	GroupBytes   int64 // a group takes no further record once it holds this much
	GroupRecords int   // or this many

	// Durable is told of each group, in the order of the log, after its fdatasync returned and before anybody who
	// waits in Append. While it blocks, the log takes no further group.
	Durable func(group []*Record, after Mark)
	// Synced is told how long each fdatasync of a group took, by the committer, before anybody who waits in Append.
	Synced func(took time.Duration)
	// Totals are written into the header of a new segment.
	Totals func() Totals
	// Note is written there too.
	Note func() [16]byte
	// Began is told of the log as soon as it knows its segments, before anything is replayed. Only Has may be called then.
	Began func(*Log)
	// Enter is told, while Open replays a segment from its beginning, of the totals and the note in its header. The totals
	// stand for all that happened before, also in segments that were dropped.
	Enter func(Totals, [16]byte)
	// Passed is told by Repair how many octets of the log it has looked at since the last time.
	Passed func(octets int64)
}

func (o *Options) defaults() {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.GroupBytes == 0 {
		o.GroupBytes = DefaultGroupBytes
	}
	if o.GroupRecords == 0 {
		o.GroupRecords = DefaultGroupRecords
	}
	if o.Synced == nil {
		o.Synced = func(time.Duration) {}
	}
	if o.Began == nil {
		o.Began = func(*Log) {}
	}
	if o.Enter == nil {
		o.Enter = func(Totals, [16]byte) {}
	}
	if o.Note == nil {
		o.Note = func() [16]byte { return [16]byte{} }
	}
	if o.Passed == nil {
		o.Passed = func(int64) {}
	}
	if o.Totals == nil {
		o.Totals = func() Totals { return Totals{} }
	}
}

// Record is one record on its way into the log.
type Record struct {
	Kind  uint8
	Flags uint16
	ID    [16]byte
	Head  []byte   // read at replay; at most 16 MiB
	Body  [][]byte // read only on demand
	Tag   any      // the caller's own, for Durable

	Header Header // set by Append
	Pos    Pos    // set by Append

	raw  [recordHeader]byte
	with []*Record // share its group
	done chan error
}

// Errors of a log.
var (
	ErrClosed = errors.New("log is closed")
	// ErrStale means that the mark is older than a segment that was dropped since: what was applied up to it is out of date.
	ErrStale = errors.New("the log went on without this mark")
	// ErrBroken means that an fdatasync failed, or a failed write could not be cut off: what is on disk is not known,
	// and the log takes nothing before it is opened again.
	ErrBroken = errors.New("log can't be written any more")
)

// Log is an open log. Its methods may be called from many goroutines.
type Log struct {
	dir  string
	opt  Options
	seal *sealer // of the committer

	mu     sync.RWMutex // against a send on the closed queue
	closed bool
	queue  chan *Record
	done   chan struct{}

	// Owned by the committer while it runs.
	head   *segment // takes the records
	end    Mark
	carry  *Record // did not fit into the last group
	room   int64   // up to here the head was written; behind the end these are zeros
	zeros  []byte
	syncer vfs.Syncer

	dropped ranges // owned by Open, then by the caller of Drop

	broken  atomic.Pointer[error]
	files   segments
	seals   sync.Pool
	spans   sync.Pool // of *[]byte, of spanSize octets
	buffers *bufferPool
	ahead   chan struct{} // holds one element for each buffer that is read ahead
	stats   counters
}

type counters struct {
	groups, records, errors atomic.Uint64
	syncNanos               atomic.Int64
	bytes                   atomic.Int64
}

// Counts is what a log did since it was opened.
type Counts struct {
	Groups, Records, WriteErrors uint64
	SyncTime                     time.Duration
	Bytes                        int64 // size of all segments
	Segments                     int
}

// Counts returns the log's counters.
func (l *Log) Counts() Counts {
	return Counts{
		Groups: l.stats.groups.Load(), Records: l.stats.records.Load(), WriteErrors: l.stats.errors.Load(),
		SyncTime: time.Duration(l.stats.syncNanos.Load()), Bytes: l.stats.bytes.Load(), Segments: l.files.count(),
	}
}

// Health returns nil while the log takes records.
func (l *Log) Health() error {
	if err := l.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// Prepare checks the record and computes its checksums, so that the committer does not have to. Append calls it when the
// caller did not.
func (r *Record) Prepare() error {
	if r.done != nil {
		return nil
	}
	if err := r.measure(); err != nil {
		return err
	}
	r.done = make(chan error, 1)
	return nil
}

// measure makes the header of the record, but for what its place in the log says.
func (r *Record) measure() error {
	if len(r.Head) > maxHead {
		return fmt.Errorf("record's head has %d octets, %d are allowed", len(r.Head), maxHead)
	}
	length := uint64(len(r.Head))
	for _, b := range r.Body {
		length += uint64(len(b))
	}
	r.Header = Header{
		Kind: r.Kind, Flags: r.Flags, ID: r.ID, HeadLen: uint32(len(r.Head)), BodyLen: length - uint64(len(r.Head)),
		length: length, headSum: checksum(r.Head), bodySum: checksum(r.Body...),
	}
	return nil
}

// Append returns nil only when the record is durable. After ErrBroken the outcome is unknown; after any other error the
// record is not in the log. A record is appended once.
func (l *Log) Append(r *Record) error {
	if err := r.Prepare(); err != nil {
		return err
	}
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return ErrClosed
	}
	l.queue <- r
	l.mu.RUnlock()
	return <-r.done
}

// Close waits until everything in Append was answered, ends the committer and closes the files. It returns the log's end,
// from which the next Open may go on.
func (l *Log) Close() (Mark, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return l.end, ErrClosed
	}
	l.closed = true
	close(l.queue)
	l.mu.Unlock()
	<-l.done
	var err error
	if l.Health() == nil {
		err = l.giveBack()
	}
	l.syncer.Close()
	return l.end, errors.Join(err, l.files.close())
}

func segmentName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016d.seg", number))
}
