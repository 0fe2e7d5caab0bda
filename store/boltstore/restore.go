package boltstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

// restoringFolder is where a store is made from a backup, in the folder that is to hold it. It has its name until all of the
// backup is durable in it: a restore that was broken off leaves nothing that is taken for a store, and can be made again.
const restoringFolder = "restoring"

// Restore makes a store in dir, which must be empty or not there, of a backup. It gets an id and a key of its own; messages
// keep their ids, and so their UIDLs. Whatever it fails with, there is a whole store in dir afterwards or none.
func Restore(ctx context.Context, dir string, r io.Reader, o Options) (store.BackupReport, error) {
	var report store.BackupReport
	if _, err := leftIn(dir); err != nil { // before a lock is left in a folder of somebody else
		return report, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return report, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return report, err
	}
	defer lock.release() //nolint:errcheck // nothing was written to it
	left, err := leftIn(dir)
	if err != nil {
		return report, err
	}
	for _, name := range left {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return report, err
		}
	}
	part := filepath.Join(dir, restoringFolder)
	if err := os.RemoveAll(part); err != nil {
		return report, err
	}
	o.Create, o.Brief = true, true // what comes in is old, and must not go before it is all there
	s, err := Open(part, o)
	if err != nil {
		return report, err
	}
	report, err = s.takeBackup(ctx, r)
	if err = errors.Join(err, s.Close()); err != nil {
		return report, errors.Join(err, os.RemoveAll(part))
	}
	return report, moveUp(vfs.OS{}, part, dir)
}

// leftIn lists what a restore that was broken off left in dir, and refuses a folder that holds anything else. Where identity
// stands the store is whole, whatever else does.
func leftIn(dir string) (left []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if slices.Contains(names, identityFile) {
		return nil, fmt.Errorf("%w: %s holds a store", ErrNotEmpty, dir)
	}
	brokenOff := slices.Contains(names, restoringFolder)
	for _, name := range names {
		switch {
		case name == restoringFolder, name == "lock", name == "lost+found":
		case brokenOff && slices.Contains(storeParts(), name):
			left = append(left, name)
		default:
			return nil, fmt.Errorf("%w: %s holds %s", ErrNotEmpty, dir, name)
		}
	}
	return left, nil
}

// storeParts are the files and folders of a store, its identity last.
func storeParts() []string {
	return []string{"log", "bodies", "accounts.db", indexFile, "ballast", clockFile, identityFile}
}

// ErrNotEmpty means that a store can't be restored into a folder, since something is there.
var ErrNotEmpty = errors.New("only an empty folder can take a backup")

// moveUp gives the store its place. Its identity goes last: before that the folder is no store.
func moveUp(fsys vfs.FS, part, dir string) error {
	for _, name := range storeParts() {
		err := fsys.Rename(filepath.Join(part, name), filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && (name == "ballast" || name == clockFile) {
			continue
		}
		if err == nil {
			err = errors.Join(fsys.SyncDir(dir), fsys.SyncDir(part))
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(part), fsys.SyncDir(dir))
}

// takeBackup files everything that a backup holds. The facts come last, so a store that was not restored to its end knows
// nobody.
func (s *Store) takeBackup(ctx context.Context, r io.Reader) (store.BackupReport, error) {
	b := restoreBatch{copying: make([]byte, nextPiece)}
	report, err := readBackup(ctx, bufio.NewReaderSize(r, 1<<20), func(item *backupItem, body io.Reader) error {
		if item.kind == backupAccounts {
			return s.accounts.load(item.head)
		}
		return b.add(ctx, s, item, body)
	})
	err = errors.Join(err, b.wait())
	if err == nil {
		b.flush(s)
		err = b.wait()
	}
	if err != nil {
		b.discard()
		return report, err
	}
	largest, err := s.index.largestDrop()
	if err == nil {
		err = s.accounts.reserve(largest)
	}
	if err == nil {
		err = s.removeStrays()
	}
	return report, err
}

// removeStrays deletes mail that is nobody's: its account was removed while the backup was made, which has the facts last.
func (s *Store) removeStrays() error {
	if err := s.indexer.settle(0); err != nil {
		return err
	}
	all, err := s.index.counts()
	if err != nil {
		return err
	}
	dir := s.accounts.directory()
	for drop := range all {
		if dir.byDrop[drop] != nil {
			continue
		}
		records, err := s.removals(drop)
		if err == nil {
			err = s.appendDeletions(records)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// restoreBatch holds the messages that become durable together. While they do, the next ones are read.
type restoreBatch struct {
	drafts  []*draft
	records []*seglog.Record
	size    int64

	copying []byte     // for bodies
	writing chan error // of the batch before; nil: none is being written
}

// add takes one message, and begins to write the batch when it has grown to reclaimBatch octets.
func (b *restoreBatch) add(ctx context.Context, s *Store, item *backupItem, body io.Reader) error {
	view, err := parseMessageHead(item.head, item.flags)
	if err != nil {
		return err
	}
	if s.space.tight(item.size) {
		return fmt.Errorf("%w: the disk is almost full", store.ErrFull)
	}
	s.ids.saw(item.id)
	d := &draft{
		s: s, id: item.id, kind: kindRestore, foreign: string(view.foreign),
		envelope: store.Envelope{Session: string(view.session), From: string(view.from)},
	}
	b.drafts = append(b.drafts, d)
	if _, err := io.CopyBuffer(struct{ io.Writer }{d}, body, b.copying); err != nil {
		return err
	}
	final := store.Final{Trace: view.trace}
	for _, to := range view.recipients {
		final.Recipients = append(final.Recipients, store.Recipient{Maildrop: to.drop, Prefix: to.prefix})
	}
	record, err := d.record(final)
	if err != nil {
		return err
	}
	b.records = append(b.records, record)
	if b.size += record.Header.Size(); b.size >= reclaimBatch || len(b.records) >= seglog.DefaultGroupRecords {
		if err := b.wait(); err != nil {
			return err
		}
		b.flush(s)
	}
	return ctx.Err()
}

// flush begins to make the batch durable, and to gather the next one. None may be being written.
func (b *restoreBatch) flush(s *Store) {
	full := restoreBatch{drafts: b.drafts, records: b.records}
	*b = restoreBatch{copying: b.copying, writing: make(chan error, 1)}
	written := b.writing
	go func() { written <- full.write(s) }()
}

func (b *restoreBatch) write(s *Store) error {
	err := s.log.AppendAll(b.records)
	for _, d := range b.drafts {
		if err == nil {
			d.spool = nil // the message's own from now on
		}
	}
	b.discard()
	if err != nil {
		return storeError(err)
	}
	return nil
}

// wait returns once nothing is being written.
func (b *restoreBatch) wait() error {
	if b.writing == nil {
		return nil
	}
	err := <-b.writing
	b.writing = nil
	return err
}

// discard gives back what the drafts hold.
func (b *restoreBatch) discard() {
	for _, d := range b.drafts {
		d.Discard()
	}
}
