package seglog

import (
	"errors"
	"fmt"
	"io"

	"example.org/letterbox/store/vfs"
)

// Repair makes a log that Open refuses as damaged open again: it leaves out the records that can't be read, and accepts
// that segments are missing. It tells report of each loss. known is up to where the caller knows the log to have been
// durable, the zero Mark where it does not: what stands behind all that is known durable was never acknowledged, and is no
// loss. Nobody else may have the log open. Every position in it changes, so the caller replays all of it afterwards.
func Repair(dir string, known Mark, opt Options, report func(*Corrupt)) error {
	opt.defaults()
	seal, err := newSealer(opt.Key)
	if err != nil {
		return err
	}
	r := repair{log: &Log{dir: dir, opt: opt, seal: seal}, known: known, report: report}
	r.log.files = segments{open: map[uint64]*segment{}, have: map[uint64]bool{}, fs: opt.FS, path: func(n uint64) string { return segmentName(dir, n) }}
	defer r.log.files.close() //nolint:errcheck // what was written was closed before
	numbers, err := list(opt.FS, dir)
	if err != nil || len(numbers) == 0 {
		return err
	}
	r.log.files.know(numbers)
	if err := r.missing(numbers); err != nil {
		return err
	}
	for i, n := range numbers {
		seal := Mark{}
		if i+1 < len(numbers) {
			seal = r.sealOf(numbers[i+1])
		}
		if err := r.segment(n, i == len(numbers)-1, seal); err != nil {
			return fmt.Errorf("%s: %w", segmentName(dir, n), err)
		}
	}
	return nil
}

type repair struct {
	log    *Log
	known  Mark
	report func(*Corrupt)
	last   segHeader // the last that could be read
}

// missing puts segments that are not there on the list of those that were dropped.
func (r *repair) missing(numbers []uint64) error {
	dropped, err := r.log.loadDropped()
	if err != nil {
		r.report(&Corrupt{Reason: fmt.Sprintf("the list of dropped segments can't be read (%v): it is made anew, and every segment that is missing counts as dropped", err)})
	}
	next, changed := uint64(1), err != nil
	for _, n := range numbers {
		for ; next < n; next++ {
			if !dropped.has(next) {
				if err == nil {
					r.report(&Corrupt{Pos: Pos{Segment: next}, Reason: "the segment is missing, and all that it held"})
				}
				dropped, changed = dropped.with(next), true
			}
		}
		next = n + 1
	}
	if !changed {
		return nil
	}
	r.log.dropped = dropped
	return r.log.saveDropped(dropped)
}

// sealOf returns where the segment in front of this one was sealed; the zero Mark when that can't be read.
func (r *repair) sealOf(number uint64) Mark {
	seg, err := r.log.files.acquire(number)
	if err != nil {
		return Mark{}
	}
	defer r.log.files.release(seg)
	var h segHeader
	if _, err := r.log.readHeader(seg, &h); err != nil {
		return Mark{}
	}
	return h.prev
}

// segment writes a damaged segment anew, without what can't be read.
func (r *repair) segment(number uint64, last bool, seal Mark) error {
	seg, err := r.log.files.acquire(number)
	if err != nil {
		return err
	}
	defer r.log.files.release(seg)
	size, err := seg.file.Size()
	if err != nil {
		return err
	}
	var h segHeader
	_, headerErr := r.log.readHeader(seg, &h)
	if headerErr != nil {
		r.report(&Corrupt{Pos: Pos{Segment: number}, Reason: fmt.Sprintf("the segment %v; its counters are taken from the one before", headerErr)})
		h = segHeader{store: r.log.opt.Store, number: number, firstSeq: r.last.firstSeq, totals: r.last.totals}
	}
	r.last = h
	end := size
	if !last && seal.Segment == number && h.flags&segRepaired == 0 {
		end = min(end, seal.Offset) // what stands behind a seal does not count
	}
	sc := &scanner{file: seg.file, number: number, end: end, seal: r.log.seal, flags: r.log.opt.Flags, off: segmentHeader}
	durable := end
	if last {
		durable = h.born
		if r.known.Segment == number {
			durable = max(durable, r.known.Offset)
			seal = r.known
		}
	}
	records, lost, err := r.salvage(sc, last, durable)
	if seal.Segment == number && size < seal.Offset && h.flags&segRepaired == 0 {
		r.report(&Corrupt{Pos: Pos{number, size}, Reason: fmt.Sprintf("the segment ends here and not at %d as it did; what stood between is lost", seal.Offset)})
		lost++
	}
	// What only the caller knows to be durable the log has to say by itself from now on.
	unsaid := last && r.known.Segment == number && r.known.Offset > saidDurable(h.born, records)
	if err != nil || (lost == 0 && headerErr == nil && !unsaid) {
		return err
	}
	h.flags |= segRepaired
	h.born = bornWith(records)
	return r.rewrite(h, sc, records)
}

// salvage lists the records that can be read and reports the gaps between them. What stands behind all that was known
// durable is no loss: the next Open decides over it.
func (r *repair) salvage(sc *scanner, last bool, durable int64) (records []*found, lost int, err error) {
	var losses []*Corrupt
	passed := int64(0)
	for {
		r.log.opt.Passed(sc.off - passed)
		passed = sc.off
		f := new(found)
		err := sc.next(f)
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errNoRecord) {
			losses = append(losses, &Corrupt{Pos: Pos{sc.number, sc.off}, Reason: "no valid record; what stood here up to the next one is lost"})
			if err := sc.skip(); err != nil {
				return nil, 0, err
			}
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		durable = max(durable, f.durableTo)
		var corrupt *Corrupt
		if _, err := sc.head(f); errors.As(err, &corrupt) {
			losses = append(losses, corrupt)
			continue
		} else if err != nil {
			return nil, 0, err
		}
		records = append(records, f)
	}
	for _, l := range losses {
		if l.Offset < durable {
			r.report(l)
			lost++
		}
	}
	if last {
		records, err = sc.wholeFrom(records, durable)
	}
	return records, lost, err
}

// saidDurable is up to where a segment that was born with so much says that it was durable.
func saidDurable(born int64, records []*found) int64 {
	for _, f := range records {
		born = max(born, f.durableTo)
	}
	return born
}

// wholeFrom leaves out what stands behind durable and is torn: it was never acknowledged.
func (s *scanner) wholeFrom(records []*found, durable int64) ([]*found, error) {
	for i, f := range records {
		if f.pos.Offset < durable {
			continue
		}
		if ok, err := s.intact(f); err != nil || !ok {
			return records[:i], err
		}
	}
	return records, nil
}

// skip moves to the next valid record behind one that is not.
func (s *scanner) skip() (err error) {
	s.off, _, err = s.search(s.off + 1)
	return err
}

// rewrite puts a segment in the place of the damaged one, which goes when the new one has its name.
func (r *repair) rewrite(h segHeader, sc *scanner, records []*found) error {
	fresh := &Log{dir: r.log.dir, opt: r.log.opt, seal: r.log.seal}
	fresh.files = segments{open: map[uint64]*segment{}, have: map[uint64]bool{}, fs: r.log.opt.FS}
	_, err := fresh.create(h, func(f vfs.File) error {
		_, err := copyRecords(f, h.number, sc.file, records, r.log.seal)
		return err
	})
	return errors.Join(err, fresh.files.close())
}
