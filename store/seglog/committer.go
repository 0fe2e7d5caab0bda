package seglog

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

const (
	// roomBytes is how much room a group makes behind itself, at most.
	roomBytes = 512 << 10
	// maxRoomed is the size up to which a group makes room. Zeros are as much again as what they make room for, and an entry
	// of the journal is some 16 KiB: for groups beyond this bound the time that is won would be paid for with more to write.
	maxRoomed = 32 << 10
	// zeroBytes is all the memory that this takes.
	zeroBytes = 64 << 10
)

// run is the committer: the only goroutine that writes.
func (l *Log) run() {
	defer close(l.done)
	group := make([]*Record, 0, l.opt.GroupRecords)
	bufs := make([][]byte, 0, 4*l.opt.GroupRecords)
	for {
		first := l.carry
		l.carry = nil
		if first == nil {
			var ok bool
			if first, ok = <-l.queue; !ok {
				return
			}
		}
		var size int64
		group, size = l.gather(group[:0], first)
		err := l.commit(group, size, bufs[:0])
		if err != nil {
			l.stats.errors.Add(1)
		}
		for i, r := range group {
			r.done <- err
			group[i] = nil
		}
	}
}

// gather takes what is queued behind first, without waiting, up to the bounds of a group.
func (l *Log) gather(group []*Record, first *Record) ([]*Record, int64) {
	group = append(append(group, first), first.with...)
	size := first.size()
	for len(group) < l.opt.GroupRecords && size < l.opt.GroupBytes {
		select {
		case r, ok := <-l.queue:
			if !ok {
				return group, size
			}
			if size+r.size() > l.groupBound() || len(group)+1+len(r.with) > l.opt.GroupRecords {
				l.carry = r
				return group, size
			}
			group = append(append(group, r), r.with...)
			size += r.size()
		default:
			return group, size
		}
	}
	return group, size
}

// groupBound is the size beyond which a group takes no second record.
func (l *Log) groupBound() int64 { return min(l.opt.GroupBytes, l.opt.SegmentBytes-segmentHeader) }

// size is what a record and those that share its group take.
func (r *Record) size() int64 {
	size := r.Header.Size()
	for _, other := range r.with {
		size += other.Header.Size()
	}
	return size
}

// commit makes one group durable, or none of it.
func (l *Log) commit(group []*Record, size int64, bufs [][]byte) error {
	if err := l.Health(); err != nil {
		return err
	}
	if l.end.Offset > segmentHeader && l.end.Offset+size > l.opt.SegmentBytes {
		if err := l.roll(); err != nil {
			return fmt.Errorf("new segment: %w", err)
		}
	}
	start := l.end
	end := start
	for _, r := range group {
		end.Seq++
		r.Pos = end.Pos
		r.Header.Seq = end.Seq
		// What stands in front of this group is durable; the group itself may reach the disk in any order.
		r.Header.durableTo = start.Offset
		r.Header.put(r.raw[:], r.Pos, l.seal)
		end.Chain = chainOn(end.Chain, r.raw[:])
		end.Offset += r.Header.Size()
		bufs = append(bufs, r.raw[:], r.Head)
		bufs = append(bufs, r.Body...)
	}
	if err := l.write(bufs, start.Offset, end.Offset); err != nil {
		return l.cutOff(start.Offset, err)
	}
	if err := l.sync(); err != nil {
		return err
	}
	l.end = end
	l.stats.groups.Add(1)
	l.stats.records.Add(uint64(len(group)))
	l.stats.bytes.Add(size)
	l.opt.Durable(group, end)
	return nil
}

// write puts a group where it belongs, and zeros behind it where it ends behind the room that was made before. An fdatasync
// of octets that were written before has no size and no new blocks to put into the file system's journal, and takes less
// than half as long. Replay takes zeros for what they are: no record.
func (l *Log) write(bufs [][]byte, start, end int64) error {
	if end <= l.room || end-start > maxRoomed {
		l.room = max(l.room, end)
		return l.head.file.WriteVec(bufs, start)
	}
	room := max(end, min(end+roomBytes, l.opt.SegmentBytes))
	roomed := bufs
	for left := room - end; left > 0; left -= int64(len(l.zeros)) {
		roomed = append(roomed, l.zeros[:min(left, int64(len(l.zeros)))])
	}
	err := l.head.file.WriteVec(roomed, start)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) { // what must be written may fit all the same
		l.room = room // some of the zeros may stand there
		return l.head.file.WriteVec(bufs, start)
	}
	if err == nil {
		l.room = room
	}
	return err
}

// cutOff removes what a failed write may have left, before anybody is told that it failed.
func (l *Log) cutOff(size int64, cause error) error {
	l.room = 0
	err := l.head.file.Truncate(size)
	if err == nil {
		err = l.head.file.Sync()
	}
	if err != nil {
		return l.fail(fmt.Errorf("%w; then cutting it off: %w", cause, err))
	}
	return cause
}

func (l *Log) sync() error {
	begin := time.Now()
	err := l.syncer.Sync(l.head.file)
	took := time.Since(begin)
	l.stats.syncNanos.Add(int64(took))
	l.opt.Synced(took)
	if err != nil {
		return l.fail(err)
	}
	return nil
}

// giveBack cuts off the room behind the last record: there a segment ends.
func (l *Log) giveBack() error {
	if l.room <= l.end.Offset {
		return nil
	}
	if err := l.head.file.Truncate(l.end.Offset); err != nil {
		return err
	}
	l.room = 0
	return l.sync()
}

// fail ends the log's life as a writer.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrBroken, cause)
	l.broken.CompareAndSwap(nil, &err)
	return err
}

// roll begins a new segment. All records of the old one are durable, since groups are.
func (l *Log) roll() error {
	if err := l.giveBack(); err != nil {
		return err
	}
	h := segHeader{store: l.opt.Store, number: l.end.Segment + 1, firstSeq: l.end.Seq + 1, totals: l.opt.Totals(), note: l.opt.Note(), prev: l.end, born: segmentHeader}
	seg, err := l.create(h, nil)
	if err != nil {
		return err
	}
	l.head = seg
	l.end = Mark{Pos: Pos{h.number, segmentHeader}, Seq: l.end.Seq}
	return nil
}
