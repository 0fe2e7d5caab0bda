package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// Backup implements store.Admin. What it wrote counts as the last backup, unless something is left out.
func (s *Store) Backup(ctx context.Context, w io.Writer) (store.BackupReport, error) {
	report, err := s.WriteBackup(ctx, w)
	if err == nil && report.LeftOut == nil {
		s.BackedUp(s.opt.Now())
	}
	return report, err
}

// BackedUp notes when a backup was made that is whole. The youngest counts, and none that a clock dated which was ahead.
func (s *Store) BackedUp(at time.Time) {
	for n, now := at.UnixNano(), s.opt.Now().UnixNano(); ; {
		before := s.lastBackup.Load()
		if n <= before && before <= now || s.lastBackup.CompareAndSwap(before, n) {
			return
		}
	}
}

// BackupFailed counts a backup that was due and could not be made.
func (s *Store) BackupFailed() { s.backupFailures.Add(1) }

// WriteBackup is Backup for who knows better whether what was written is whole, and says so with BackedUp. It holds a list of
// 24 octets for each message that waits, some pieces of the log, and no transaction longer than a look at some of them; mail that is
// deleted meanwhile may be left out, and the bin is. Once ctx has ended it touches the store no more, also where w did not answer until
// after the store was closed.
func (s *Store) WriteBackup(ctx context.Context, w io.Writer) (store.BackupReport, error) {
	var report store.BackupReport
	if err := ctx.Err(); err != nil {
		return report, err
	}
	if err := s.indexer.settle(0); err != nil {
		return report, err
	}
	s.index.warm(warmAll)
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
	b := backupRun{s: s, out: out, calm: gentle{s: s, others: 1}} // the goroutine that writes works as much
	if err := b.messages(ctx, waiting, &report); err != nil {
		return report, err
	}
	if err := ctx.Err(); err != nil {
		return report, err
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
		err := ix.view(func(tx *bbolt.Tx) error {
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

// CheckBackup reads a backup to its end and says what it holds. It fails with ErrBackup where that is not whole. It reads ahead, so
// r should be a file: it returns when a read that is under way has ended.
func CheckBackup(ctx context.Context, r io.Reader) (store.BackupReport, error) {
	ahead := newInputAhead(r)
	defer ahead.close()
	return readBackup(ctx, ahead, func(_ *backupItem, body *backupReader) error {
		_, err := io.Copy(io.Discard, body)
		return err
	})
}

// readBackup calls each for every record, and holds what the end says against what came.
func readBackup(ctx context.Context, r io.Reader, each func(item *backupItem, body *backupReader) error) (report store.BackupReport, err error) {
	in, err := newBackupReader(r)
	if err != nil {
		return report, err
	}
	facts := false
	var room [8]recipientView
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
			m, err := messageHeadInto(room[:], item.head, item.flags)
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
