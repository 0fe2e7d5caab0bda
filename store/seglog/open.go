package seglog

import (
	"errors"
	"fmt"
	"io"
)

// Apply is told of each record behind the mark that Open was given, in the order of the log, once it is durable. head is
// valid during the call. After is the place behind the record.
type Apply func(h *Header, pos Pos, head []byte, after Mark) error

// Open opens the log in dir, which may be empty, and replays what stands behind from; the zero Mark replays everything.
// A *Corrupt error means that acknowledged records are damaged or missing.
func Open(dir string, from Mark, opt Options, apply Apply) (*Log, error) {
	opt.defaults()
	seal, err := newSealer(opt.Key)
	if err != nil {
		return nil, err
	}
	l := &Log{
		dir: dir, opt: opt, seal: seal, queue: make(chan *Record, opt.GroupRecords), done: make(chan struct{}),
		buffers: newBufferPool(), spans: poolOf(spanSize), zeros: make([]byte, zeroBytes), ahead: make(chan struct{}, aheads),
	}
	l.files = segments{
		open: map[uint64]*segment{}, have: map[uint64]bool{}, fs: opt.FS,
		path: func(n uint64) string { return segmentName(dir, n) },
	}
	if err := l.recover(from, apply); err != nil {
		l.files.close() //nolint:errcheck // err says more
		return nil, err
	}
	go l.run()
	return l, nil
}

func (l *Log) recover(from Mark, apply Apply) error {
	numbers, err := list(l.opt.FS, l.dir)
	if err != nil {
		return err
	}
	if numbers, err = l.finishDrops(numbers); err != nil {
		return err
	}
	if len(numbers) == 0 {
		if from.Segment != 0 {
			return &Corrupt{Pos: from.Pos, Reason: "the log is empty, but the index holds mail from it"}
		}
		return l.begin()
	}
	if from.Segment != 0 && l.dropped.beyond(from.Segment) {
		return ErrStale
	}
	l.files.know(numbers)
	l.opt.Began(l)
	headers, err := l.readHeaders(numbers)
	if err != nil {
		return err
	}
	last := headers[len(headers)-1]
	if from.Segment > last.number {
		return &Corrupt{Pos: from.Pos, Reason: "the index holds mail from a segment that is not there"}
	}
	r := replay{log: l, from: from, apply: apply, mark: from}
	for i, h := range headers[:len(headers)-1] {
		// The seal stands in the header of the segment behind. Where that was dropped, the file's end is the seal: it was
		// cut there when the next segment began.
		seal := headers[i+1].prev
		if seal.Segment != h.number || h.flags&segRepaired != 0 {
			seal = Mark{}
		}
		if err := r.sealed(h, seal); err != nil {
			return err
		}
	}
	return r.last(last)
}

// begin makes the first segment.
func (l *Log) begin() error {
	l.opt.Began(l)
	h := segHeader{store: l.opt.Store, number: 1, firstSeq: 1, totals: l.opt.Totals(), note: l.opt.Note(), born: segmentHeader}
	seg, err := l.create(h, nil)
	if err != nil {
		return err
	}
	l.head, l.end = seg, Mark{Pos: Pos{1, segmentHeader}}
	return nil
}

// readHeaders reads and checks the header of each segment.
func (l *Log) readHeaders(numbers []uint64) ([]segHeader, error) {
	headers := make([]segHeader, len(numbers))
	for i, n := range numbers {
		h := &headers[i]
		seg, err := l.files.acquire(n)
		if err != nil {
			return nil, err
		}
		size, err := l.readHeader(seg, h)
		l.files.release(seg)
		if err != nil {
			return nil, fmt.Errorf("%s %w", segmentName(l.dir, n), err)
		}
		if i > 0 && h.prev.Segment == headers[i-1].number && headers[i-1].flags&segRepaired == 0 {
			if err := l.cutSealed(h.prev); err != nil {
				return nil, err
			}
		}
		l.stats.bytes.Add(size)
	}
	return headers, nil
}

// cutSealed cuts off what stands behind a segment's seal: a tail that was moved, by an open that did not come to its end.
func (l *Log) cutSealed(seal Mark) error {
	seg, err := l.files.acquire(seal.Segment)
	if err != nil {
		return err
	}
	defer l.files.release(seg)
	size, err := seg.file.Size()
	if err != nil || size <= seal.Offset {
		return err
	}
	l.stats.bytes.Add(seal.Offset - size)
	if err := seg.file.Truncate(seal.Offset); err != nil {
		return err
	}
	return seg.file.Sync()
}

func (l *Log) readHeader(seg *segment, h *segHeader) (int64, error) {
	buf := make([]byte, segmentHeader)
	if n, err := seg.file.ReadAt(buf, 0); err != nil && !(errors.Is(err, io.EOF) && n < len(buf)) {
		return 0, fmt.Errorf("can't be read: %w", err)
	}
	if err := h.parse(buf, l.seal); err != nil {
		return 0, err
	}
	if h.store != l.opt.Store || h.number != seg.number {
		return 0, errors.New("belongs to another store, or was renamed")
	}
	return seg.file.Size()
}

// replay walks the log behind a mark.
type replay struct {
	log   *Log
	from  Mark
	mark  Mark // behind the last record that was applied or stood in front of from
	apply Apply
}

// enter moves the mark to the beginning of a segment, unless from stands in it.
func (r *replay) enter(h segHeader) {
	if r.from.Segment < h.number {
		r.mark = Mark{Pos: Pos{h.number, segmentHeader}, Seq: max(r.mark.Seq, h.firstSeq-1)}
		r.log.opt.Enter(h.totals, h.note)
	}
}

func (r *replay) scanner(seg *segment, end int64) *scanner {
	return &scanner{file: seg.file, number: seg.number, end: end, seal: r.log.seal, flags: r.log.opt.Flags, off: r.mark.Offset}
}

// inOrder is scanner for a segment that is read from here to its end, with the system reading ahead. end gives back what it takes.
func (r *replay) inOrder(seg *segment, size int64) (sc *scanner, end func(), err error) {
	file, err := r.log.files.inOrder(seg.number)
	if err != nil {
		return nil, nil, err
	}
	sc = r.scanner(seg, size)
	sc.file, sc.ahead = file, newForerunner(file, sc.off, size)
	return sc, func() {
		sc.ahead.stop()
		file.Close() //nolint:errcheck // it was read only
	}, nil
}

// sealed replays one segment that another follows: every octet up to its seal is durable.
func (r *replay) sealed(h segHeader, seal Mark) error {
	if h.number < r.from.Segment {
		return nil
	}
	r.enter(h)
	seg, err := r.log.files.acquire(h.number)
	if err != nil {
		return err
	}
	defer r.log.files.release(seg)
	size, err := seg.file.Size()
	if err != nil {
		return err
	}
	known := seal.Segment == h.number
	if !known {
		seal.Offset = size
	}
	if size < seal.Offset || r.mark.Offset > seal.Offset {
		return &Corrupt{Pos: Pos{h.number, min(size, seal.Offset)}, Reason: "the segment is shorter than it was"}
	}
	sc, end, err := r.inOrder(seg, seal.Offset)
	if err != nil {
		return err
	}
	defer end()
	f := new(found)
	for {
		err := sc.next(f)
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errNoRecord) {
			return &Corrupt{Pos: Pos{h.number, sc.off}, Reason: "no valid record, though it was acknowledged"}
		}
		if err != nil {
			return err
		}
		if err := r.one(sc, f); err != nil {
			return err
		}
	}
	if known && r.mark.Chain != seal.Chain {
		return &Corrupt{Pos: r.mark.Pos, Reason: "the segment is not the one that was sealed"}
	}
	return nil
}

// one applies a record that is durable where it stands.
func (r *replay) one(sc *scanner, f *found) error {
	head, err := sc.head(f)
	if err != nil {
		return err
	}
	r.pass(f)
	return r.apply(&f.Header, f.pos, head, r.mark)
}

// pass moves the mark behind f.
func (r *replay) pass(f *found) {
	r.mark = Mark{
		Pos: Pos{f.pos.Segment, f.pos.Offset + f.Size()}, Seq: max(r.mark.Seq, f.Seq), Chain: chainOn(r.mark.Chain, f.raw[:]),
	}
}
