package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

// Backup implements store.Admin. What it wrote counts as the last backup.
func (s *Store) Backup(ctx context.Context, w io.Writer) (store.BackupReport, error) {
	report, err := s.WriteBackup(ctx, w)
	if err == nil {
		s.BackedUp(s.opt.Now())
	}
	return report, err
}

// BackedUp notes when a backup was made that is whole. The youngest counts.
func (s *Store) BackedUp(at time.Time) {
	for n := at.UnixNano(); ; {
		before := s.lastBackup.Load()
		if n <= before || s.lastBackup.CompareAndSwap(before, n) {
			return
		}
	}
}

// BackupFailed counts a backup that was due and could not be made.
func (s *Store) BackupFailed() { s.backupFailures.Add(1) }

// WriteBackup is Backup for who knows better whether what was written is whole, and says so with BackedUp. It holds a list of
// 24 octets for each message that waits, pieces of bodies, and no transaction longer than a look at some of them; mail that is
// deleted meanwhile may be left out, and the bin is.
func (s *Store) WriteBackup(ctx context.Context, w io.Writer) (store.BackupReport, error) {
	var report store.BackupReport
	if err := s.indexer.settle(0); err != nil {
		return report, err
	}
	st, _ := s.indexer.snapshot()
	waiting, err := s.index.arrivals(ctx, st.totals.present())
	if err != nil {
		return report, err
	}
	ahead := newWriteAhead(w)
	defer ahead.close() //nolint:errcheck // its error came with finish, or does not matter
	out, err := newBackupWriter(ahead, s.id.storeID())
	if err != nil {
		return report, err
	}
	b := backupRun{s: s, out: out, calm: gentle{s: s}}
	for len(waiting) > 0 {
		n := min(len(waiting), backupBatch)
		if err := b.messages(ctx, waiting[:n], &report); err != nil {
			return report, err
		}
		waiting = waiting[n:]
	}
	head, err := s.accounts.dump()
	if err == nil {
		err = out.put(&backupItem{kind: backupAccounts, head: head}, nil)
	}
	if err == nil {
		err = out.finish(report.Messages, report.Entries)
	}
	if err == nil {
		err = ahead.close()
	}
	report.Octets = out.octets
	return report, err
}

// arrival is a message that waits somewhere.
type arrival struct {
	seq uint64
	id  store.ID
}

// arrivals lists the messages that wait, in the order of their arrival. entries is how many that are, about.
func (ix *index) arrivals(ctx context.Context, entries int64) (all []arrival, err error) {
	all = make([]arrival, 0, max(entries, 0)+verifyBatch)
	for from := []byte{}; from != nil; {
		err := ix.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketEntries).Cursor()
			k, v := c.Seek(from)
			from = nil
			for n := 0; k != nil; k, v = c.Next() {
				if n++; n > verifyBatch {
					from = bytes.Clone(k)
					return nil
				}
				var e entry
				if !e.decode(k, v) {
					return errIndex
				}
				all = append(all, arrival{e.seq, e.id})
			}
			return nil
		})
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b arrival) int { return cmp.Compare(a.seq, b.seq) })
	return slices.Compact(all), nil
}

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
	found := make([]whereabouts, len(some))
	err := b.s.index.db.View(func(tx *bbolt.Tx) error {
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
		if err := b.s.index.db.View(func(tx *bbolt.Tx) error { return at.look(tx, a.id) }); err != nil || len(at.drops) == 0 {
			return 0, err
		}
		rec, err = b.s.log.Read(at.refs.pos, at.refs.size)
	}
	if err != nil {
		return 0, err
	}
	view, err := messageOf(rec.Kind, rec.Flags, rec.Head)
	if err != nil {
		rec.Close() //nolint:errcheck // it never fails
		return 0, corrupt(err)
	}
	view.recipients = slices.DeleteFunc(view.recipients, func(to recipientView) bool { return !slices.Contains(at.drops, to.drop) })
	body, size, err := b.s.body(rec, &view)
	if err != nil {
		return 0, corrupt(err)
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

// body opens the body of a record, checked, and closes the record where that fails.
func (s *Store) body(rec *seglog.Reader, m *messageView) (body bodyReader, size int64, err error) {
	if rec.Flags&flagExternal != 0 {
		body, err = s.bodies.open(rec, m.body, &s.memory.next)
		size = m.body.size
	} else {
		body, size, err = rec, int64(rec.BodyLen), rec.Check()
	}
	if err != nil {
		rec.Close() //nolint:errcheck // it never fails
	}
	return body, size, err
}

// dump writes the facts down: for each key its bucket, itself and its value. The format's key is a matter of the file.
func (a *accounts) dump() (b []byte, err error) {
	err = a.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(k, v []byte) error {
				if !bytes.Equal(name, bucketMeta) || !bytes.Equal(k, keyFormat) {
					b = appendBytes(appendBytes(appendBytes(b, name), k), v)
				}
				return nil
			})
		})
	})
	return b, err
}

// load puts dumped facts into a file that has none yet.
func (a *accounts) load(dumped []byte) error {
	_, err := a.change(func(tx *bbolt.Tx, _ *directory) error {
		for r := (headReader{b: dumped}); len(r.b) > 0; {
			name, key, value := r.bytes(), r.bytes(), r.bytes()
			if r.bad {
				return errHead
			}
			bucket, err := tx.CreateBucketIfNotExists(name)
			if err == nil {
				err = bucket.Put(key, value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// CheckBackup reads a backup to its end and says what it holds. It fails with ErrBackup where that is not whole.
func CheckBackup(ctx context.Context, r io.Reader) (store.BackupReport, error) {
	return readBackup(ctx, r, func(item *backupItem, body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		return err
	})
}

// readBackup calls each for every record, and holds what the end says against what came.
func readBackup(ctx context.Context, r io.Reader, each func(item *backupItem, body io.Reader) error) (report store.BackupReport, err error) {
	in, err := newBackupReader(r)
	if err != nil {
		return report, err
	}
	facts := false
	for {
		item, err := in.next()
		if err := errors.Join(err, ctx.Err()); err != nil {
			return report, err
		}
		switch item.kind {
		case backupEnd:
			report.Octets = in.octets
			if !facts || int64(binary.LittleEndian.Uint64(item.head)) != report.Messages || int64(binary.LittleEndian.Uint64(item.head[8:])) != report.Entries {
				return report, in.broken("is an end that does not fit: something is missing")
			}
			return report, nil
		case backupAccounts:
			facts = true
		case backupMessage:
			m, err := parseMessageHead(item.head, item.flags)
			if err != nil || item.flags&^uint16(flagForeign) != 0 {
				return report, in.broken("has a head that can't be read")
			}
			report.Messages++
			report.Entries += int64(len(m.recipients))
		default:
			return report, in.broken("is of the unknown kind %q: use the version that wrote it", item.kind)
		}
		if err := each(item, in); err != nil {
			return report, err
		}
		if in.left > 0 {
			return report, in.broken("was not read to its end")
		}
	}
}
