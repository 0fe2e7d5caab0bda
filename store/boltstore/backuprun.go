package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"syscall"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

const (
	// backupBatch is how many messages are looked up together.
	backupBatch = 256
	// backupPieces is how many pieces of the log are in memory at most, of seglog.MaxAhead octets each: one is written, one is read, and
	// between them others wait.
	backupPieces = 6
)

// backupRun is one backup under way. One goroutine looks messages up and reads them, another writes them.
type backupRun struct {
	s   *Store
	out *backupWriter

	// Of the goroutine that reads.
	calm   gentle
	hinted seglog.Pos     // up to here the system was told to read
	hints  sync.WaitGroup // those that tell it: that takes half as long as the reading
	ahead  *seglog.Ahead
}

// whereabouts is where a message's record is, and who has it but for those in whose bin it lies.
type whereabouts struct {
	refs  refs
	drops []store.MaildropID
}

// found is a message that was looked up, and its record.
type found struct {
	arrival
	whereabouts
	rec *seglog.Reader // nil where nobody has the message, or err says why it can't be read
	err error
}

// closeAll gives back the records that are open.
func closeAll(piece []found) {
	for i := range piece {
		if piece[i].rec != nil {
			piece[i].rec.Close() //nolint:errcheck // it never fails
		}
	}
}

// messages writes the messages that wait, without those that are deleted by now.
func (b *backupRun) messages(ctx context.Context, waiting []arrival, report *store.BackupReport) error {
	ctx, cancel := context.WithCancel(ctx)
	pieces, failed := make(chan []found, backupPieces-2), make(chan error, 1)
	go func() {
		defer close(pieces)
		failed <- b.read(ctx, waiting, pieces)
	}()
	defer func() {
		cancel()
		for piece := range pieces {
			closeAll(piece)
		}
	}()
	for piece := range pieces {
		if err := b.putAll(ctx, piece, report); err != nil {
			return err
		}
	}
	return <-failed
}

// putAll writes the messages of a piece, and closes their records.
func (b *backupRun) putAll(ctx context.Context, piece []found, report *store.BackupReport) error {
	defer closeAll(piece)
	for i := range piece {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := b.put(&piece[i])
		if u := (*unreadable)(nil); errors.As(err, &u) {
			n, err = 0, b.lacks(piece[i].arrival, u.cause, report)
		}
		if err != nil {
			return err
		}
		if n > 0 {
			report.Messages++
			report.Entries += int64(n)
		}
	}
	return nil
}

// read looks the messages up and hands on those that lie in the log one behind the other, piece by piece.
func (b *backupRun) read(ctx context.Context, waiting []arrival, pieces chan<- []found) error {
	b.ahead = b.s.log.Ahead()
	defer b.ahead.Release()
	defer b.hints.Wait()
	for some := range slices.Chunk(waiting, backupBatch) {
		if err := ctx.Err(); err != nil {
			return err
		}
		all, err := b.look(some)
		if err != nil {
			return err
		}
		for len(all) > 0 {
			if err := errors.Join(ctx.Err(), b.calm.rest(ctx)); err != nil {
				return err
			}
			n, octets := run(all)
			piece := all[:n:n]
			b.open(piece, octets)
			select {
			case pieces <- piece:
			case <-ctx.Done():
				closeAll(piece)
				return ctx.Err()
			}
			all = all[n:]
		}
	}
	return nil
}

// look finds some messages, in one transaction.
func (b *backupRun) look(some []arrival) ([]found, error) {
	all := make([]found, len(some))
	err := b.s.index.view(func(tx *bbolt.Tx) error {
		ids, bin := tx.Bucket(bucketIDs), tx.Bucket(bucketBin)
		for i, a := range some {
			all[i].arrival = a
			if err := all[i].look(ids, bin, a.id); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// run returns how many of the messages, from the first on, lie in one piece of the log, one behind the other, and how long that is.
func run(all []found) (n int, octets int64) {
	var first, last seglog.Pos
	records := 0
	for i := range all {
		f := &all[i]
		if len(f.drops) == 0 {
			continue
		}
		if records == 0 {
			first = f.refs.pos
		}
		reach := f.refs.pos.Offset + f.refs.size - first.Offset
		if records > 0 && (f.refs.pos.Segment != first.Segment || !last.Before(f.refs.pos) || reach > seglog.MaxAhead || records == seglog.MaxAheadRecords) {
			return i, octets
		}
		last, octets = f.refs.pos, reach
		records++
	}
	return len(all), octets
}

// open opens the records of a piece.
func (b *backupRun) open(piece []found, octets int64) {
	var room [seglog.MaxAheadRecords]seglog.Pos
	at := room[:0]
	for i := range piece {
		if len(piece[i].drops) > 0 {
			at = append(at, piece[i].refs.pos)
		}
	}
	if len(at) == 0 {
		return
	}
	b.readAhead(at[0])
	if octets <= seglog.MaxAhead {
		b.ahead.Prepare(at, octets)
	}
	for i := range piece {
		piece[i].rec, piece[i].err = b.record(&piece[i])
	}
}

// record opens the record of a message; nil where nobody has it. What was read ahead is taken where it is what the index says.
func (b *backupRun) record(f *found) (*seglog.Reader, error) {
	if len(f.drops) == 0 {
		return nil, nil
	}
	if rec := b.ahead.Take(f.refs.pos); rec != nil {
		if rec.ID == f.id && rec.Size() == f.refs.size {
			return rec, nil
		}
		rec.Close() //nolint:errcheck // it never fails
	}
	rec, err := b.s.log.Read(f.refs.pos, f.refs.size)
	if errors.Is(err, fs.ErrNotExist) { // reclaimed meanwhile
		if err := f.lookAgain(b.s.index, f.id); err != nil || len(f.drops) == 0 {
			return nil, err
		}
		rec, err = b.s.log.Read(f.refs.pos, f.refs.size)
	}
	return rec, err
}

// unreadable is why a message can't be read.
type unreadable struct{ cause error }

func (u *unreadable) Error() string { return u.cause.Error() }

// unread tells what keeps one message from being read, damage or a bad sector, from what keeps all of them.
func unread(err error) error {
	if err = corrupt(err); errors.Is(err, store.ErrCorrupt) || errors.Is(err, syscall.EIO) {
		return &unreadable{err}
	}
	return err
}

// lacks notes that a message is left out, unless nobody has it any more: then what it held went meanwhile.
func (b *backupRun) lacks(a arrival, cause error, report *store.BackupReport) error {
	var now whereabouts
	err := now.lookAgain(b.s.index, a.id)
	if err != nil || len(now.drops) == 0 {
		return err
	}
	reason := cause.Error()
	if c := (*seglog.Corrupt)(nil); errors.As(cause, &c) {
		reason = fmt.Sprintf("%s (%s)", c.Reason, c.Pos)
	}
	report.Lacks(store.Finding{Message: a.id.String(), Text: fmt.Sprintf("message %s is left out: %s", a.id, reason)})
	return nil
}

// lookAgain is look in a transaction of its own.
func (w *whereabouts) lookAgain(ix *index, id store.ID) error {
	return ix.view(func(tx *bbolt.Tx) error { return w.look(tx.Bucket(bucketIDs), tx.Bucket(bucketBin), id) })
}

// look finds a message; one that nobody has, or only bins, has no drops.
func (w *whereabouts) look(ids, bin *bbolt.Bucket, id store.ID) error {
	*w = whereabouts{}
	value := ids.Get(id[:])
	if value == nil {
		return nil
	}
	if !w.refs.decode(id, value) {
		return fmt.Errorf("%w: the references of %s can't be read", errIndex, id)
	}
	for _, drop := range w.refs.drops {
		if e, _, ok := findEntry(entryKey(drop, w.refs.seq), bin); !ok || e.binned == 0 {
			w.drops = append(w.drops, drop)
		}
	}
	return nil
}

// put writes one message, and returns how many have it.
func (b *backupRun) put(f *found) (int, error) {
	if f.err != nil {
		return 0, unread(f.err)
	}
	rec := f.rec
	if rec == nil {
		return 0, nil
	}
	f.rec = nil
	view, err := messageOf(rec.Kind, rec.Flags, rec.Head)
	if err != nil {
		rec.Close() //nolint:errcheck // it never fails
		return 0, unread(err)
	}
	view.recipients = slices.DeleteFunc(view.recipients, func(to recipientView) bool { return !slices.Contains(f.drops, to.drop) })
	body, size, err := b.s.body(rec, &view)
	if err != nil {
		return 0, unread(err)
	}
	defer body.Close() //nolint:errcheck // it was read only
	if len(view.recipients) == 0 {
		return 0, nil
	}
	flags := rec.Flags & flagForeign
	item := &backupItem{kind: backupMessage, flags: flags, id: f.id, seq: f.seq, head: view.encode(flags), size: size}
	return len(view.recipients), b.out.put(item, body)
}

// readAhead has the log read behind pos, where it goes on about where it was: mail lies there in the order of its arrival.
func (b *backupRun) readAhead(pos seglog.Pos) {
	const ahead = 4 * vfs.AheadStep
	if h := b.hinted; h.Segment != pos.Segment || h.Offset < pos.Offset || h.Offset > pos.Offset+2*ahead {
		b.hinted = pos
	}
	if b.hinted.Offset < pos.Offset+ahead/2 {
		from := b.hinted
		b.hinted.Offset += ahead / 2
		b.hints.Go(func() {
			for n := int64(0); n < ahead/2; n += vfs.AheadStep {
				b.s.log.WillNeed(seglog.Pos{Segment: from.Segment, Offset: from.Offset + n}, vfs.AheadStep)
			}
		})
	}
}
