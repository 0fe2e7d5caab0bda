package seglog

import (
	"errors"
	"fmt"
	"io"

	"example.org/letterbox/store/vfs"
)

// last replays the segment that took records when the log was last open.
func (r *replay) last(h segHeader) error {
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
	if r.mark.Offset > size {
		return &Corrupt{Pos: r.mark.Pos, Reason: fmt.Sprintf("the index holds mail up to here, but the segment ends at %d", size)}
	}
	if r.from.Segment == h.number && r.from.Offset == size {
		r.log.head, r.log.end = seg, r.mark // a clean stop: nothing is behind what is known to be durable
		return nil
	}
	if err := r.reached(seg); err != nil {
		return err
	}
	records, durable, err := r.survey(seg, size, h.born)
	if err != nil {
		return err
	}
	sc := r.scanner(seg, size)
	for len(records) > 0 && records[0].pos.Offset < durable {
		if err := r.one(sc, records[0]); err != nil {
			return err
		}
		records = records[1:]
	}
	return r.moveTail(seg, sc, records)
}

// reached makes sure that something stands in front of the mark: where room was made, a log that lost what it held ends in
// zeros, and no longer before the mark. A record that ends in zeros itself is rare, and looked for with all before it.
func (r *replay) reached(seg *segment) error {
	if r.mark.Offset < segmentHeader+recordHeader {
		return nil
	}
	var before [recordHeader]byte
	if _, err := seg.file.ReadAt(before[:], r.mark.Offset-recordHeader); err != nil {
		return err
	}
	if before != ([recordHeader]byte{}) {
		return nil
	}
	whole, err := r.endsAtMark(seg)
	if err == nil && !whole {
		err = &Corrupt{Pos: r.mark.Pos, Reason: "the index holds mail up to here, but nothing stands in front of it"}
	}
	return err
}

// endsAtMark tells whether an intact record ends at the mark.
func (r *replay) endsAtMark(seg *segment) (bool, error) {
	sc := r.scanner(seg, r.mark.Offset)
	sc.off = segmentHeader
	f := new(found)
	for {
		err := sc.next(f)
		switch {
		case errors.Is(err, errNoRecord), errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		case sc.off == r.mark.Offset:
			return sc.intact(f)
		}
	}
}

// survey lists the valid records behind the mark and says up to where the segment is known durable.
func (r *replay) survey(seg *segment, size, durable int64) ([]*found, int64, error) {
	var records []*found
	if r.from.Segment == seg.number {
		durable = max(durable, r.from.Offset)
	}
	sc, end, err := r.inOrder(seg, size)
	if err != nil {
		return nil, 0, err
	}
	defer end()
	for {
		f := new(found)
		err := sc.next(f)
		if errors.Is(err, io.EOF) {
			if durable > size {
				return nil, 0, &Corrupt{Pos: Pos{seg.number, size}, Reason: "the segment is shorter than it was"}
			}
			return records, durable, nil
		}
		if errors.Is(err, errNoRecord) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		durable = max(durable, f.durableTo)
		records = append(records, f)
	}
	bad := sc.off
	claim, err := sc.durableClaim(bad + 1)
	if err != nil {
		return nil, 0, err
	}
	if max(claim, durable) > bad {
		return nil, 0, &Corrupt{Pos: Pos{seg.number, bad}, Reason: "no valid record, though a later one shows that it was acknowledged"}
	}
	return records, max(durable, claim), nil
}

// moveTail writes what is intact of the tail into a new segment, whole, and goes on there. What is not intact was never
// acknowledged: it and all behind it are dropped.
func (r *replay) moveTail(seg *segment, sc *scanner, tail []*found) error {
	keep := 0
	for keep < len(tail) {
		ok, err := sc.intact(tail[keep])
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		keep++
	}
	l := r.log
	seal := r.mark
	h := segHeader{store: l.opt.Store, number: seg.number + 1, firstSeq: seal.Seq + 1, totals: l.opt.Totals(), note: l.opt.Note(), prev: seal, born: bornWith(tail[:keep])}
	r.mark = Mark{Pos: Pos{h.number, segmentHeader}, Seq: seal.Seq}
	next, err := l.create(h, func(f vfs.File) error {
		_, err := copyRecords(f, h.number, sc.file, tail[:keep], l.seal)
		return err
	})
	if err != nil {
		return err
	}
	// Only now are the copies durable.
	copies := &scanner{file: next.file, number: h.number, end: h.born, seal: l.seal, flags: l.opt.Flags}
	for _, rec := range tail[:keep] {
		if err := r.one(copies, rec); err != nil {
			return err
		}
	}
	l.head, l.end = next, r.mark
	return l.cutSealed(seal)
}

// bornWith is the length of a segment that begins with these records.
func bornWith(records []*found) int64 {
	length := int64(segmentHeader)
	for _, rec := range records {
		length += rec.Size()
	}
	return length
}

// copyRecords writes records behind the header of dst, sealed for their place there, and returns where they end.
func copyRecords(dst vfs.File, number uint64, src vfs.File, records []*found, seal *sealer) (end int64, err error) {
	buf := make([]byte, scanWindow)
	end = segmentHeader
	for _, rec := range records {
		from := rec.pos.Offset + recordHeader
		rec.pos = Pos{number, end}
		rec.durableTo = segmentHeader
		rec.put(rec.raw[:], rec.pos, seal)
		if err := dst.WriteVec([][]byte{rec.raw[:]}, end); err != nil {
			return 0, err
		}
		if err := copyRange(dst, end+recordHeader, src, from, int64(rec.length), buf); err != nil {
			return 0, err
		}
		end += rec.Size()
	}
	return end, nil
}

func copyRange(dst vfs.File, to int64, src vfs.File, from, n int64, buf []byte) error {
	for n > 0 {
		part := buf[:min(n, int64(len(buf)))]
		if _, err := src.ReadAt(part, from); err != nil {
			return err
		}
		if err := dst.WriteVec([][]byte{part}, to); err != nil {
			return err
		}
		step := int64(len(part))
		from, to, n = from+step, to+step, n-step
	}
	return nil
}
