package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

// backupBatch is how many messages are looked up together.
const backupBatch = 256

// backupRun is one backup under way.
type backupRun struct {
	s      *Store
	out    *backupWriter
	calm   gentle
	hinted seglog.Pos // up to here the system was told to read
}

// whereabouts is where a message's record is, and who has it but for those in whose bin it lies.
type whereabouts struct {
	refs  refs
	drops []store.MaildropID
}

// messages writes some messages, without those that are deleted by now.
func (b *backupRun) messages(ctx context.Context, some []arrival, report *store.BackupReport) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	found := make([]whereabouts, len(some))
	err := b.s.index.view(func(tx *bbolt.Tx) error {
		for i, a := range some {
			if err := found[i].look(tx, a.id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, a := range some {
		if err := errors.Join(ctx.Err(), b.calm.rest(ctx)); err != nil {
			return err
		}
		n, err := b.message(a, found[i])
		if u := (*unreadable)(nil); errors.As(err, &u) {
			n, err = 0, b.lacks(a, u.cause, report)
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
	err := b.s.index.view(func(tx *bbolt.Tx) error { return now.look(tx, a.id) })
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

// look finds a message; one that nobody has, or only bins, has no drops.
func (w *whereabouts) look(tx *bbolt.Tx, id store.ID) error {
	*w = whereabouts{}
	value := tx.Bucket(bucketIDs).Get(id[:])
	if value == nil {
		return nil
	}
	if !w.refs.decode(id, value) {
		return fmt.Errorf("%w: the references of %s can't be read", errIndex, id)
	}
	bin := tx.Bucket(bucketBin)
	for _, drop := range w.refs.drops {
		if e, _, ok := findEntry(entryKey(drop, w.refs.seq), bin); !ok || e.binned == 0 {
			w.drops = append(w.drops, drop)
		}
	}
	return nil
}

// message writes one message, and returns how many have it.
func (b *backupRun) message(a arrival, at whereabouts) (int, error) {
	if len(at.drops) == 0 {
		return 0, nil
	}
	b.readAhead(at.refs.pos)
	rec, err := b.s.log.Read(at.refs.pos, at.refs.size)
	if errors.Is(err, fs.ErrNotExist) { // reclaimed meanwhile
		if err := b.s.index.view(func(tx *bbolt.Tx) error { return at.look(tx, a.id) }); err != nil || len(at.drops) == 0 {
			return 0, err
		}
		rec, err = b.s.log.Read(at.refs.pos, at.refs.size)
	}
	if err != nil {
		return 0, unread(err)
	}
	view, err := messageOf(rec.Kind, rec.Flags, rec.Head)
	if err != nil {
		rec.Close() //nolint:errcheck // it never fails
		return 0, unread(err)
	}
	view.recipients = slices.DeleteFunc(view.recipients, func(to recipientView) bool { return !slices.Contains(at.drops, to.drop) })
	body, size, err := b.s.body(rec, &view)
	if err != nil {
		return 0, unread(err)
	}
	defer body.Close() //nolint:errcheck // it was read only
	if len(view.recipients) == 0 {
		return 0, nil
	}
	flags := rec.Flags & flagForeign
	item := &backupItem{kind: backupMessage, flags: flags, id: a.id, seq: a.seq, head: view.encode(flags), size: size}
	return len(view.recipients), b.out.put(item, body)
}

// readAhead has the log read behind pos, where it goes on about where it was: mail lies there in the order of its arrival.
func (b *backupRun) readAhead(pos seglog.Pos) {
	const ahead = 4 * vfs.AheadStep
	if h := b.hinted; h.Segment != pos.Segment || h.Offset < pos.Offset || h.Offset > pos.Offset+2*ahead {
		b.hinted = pos
	}
	for b.hinted.Offset < pos.Offset+ahead/2 {
		for range 2 {
			b.s.log.WillNeed(b.hinted, vfs.AheadStep)
			b.hinted.Offset += vfs.AheadStep
		}
	}
}
