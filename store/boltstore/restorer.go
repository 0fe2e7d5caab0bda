package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

// restorer fills an empty store, which nobody has open, with what a backup holds: the log in one row, and the index beside it from the
// same records, as a rebuild makes it from the log. Nothing of it counts before finish, so until then nothing needs to be synced in an
// order: by the delivery's path, with an fdatasync for each batch and synced transactions of the index, the same took ten times as long.
//
// It holds one body of maxInMemory octets, or a piece of a larger one, the buffers of seglog.Writer, and what a replayer does.
type restorer struct {
	log      *seglog.Writer
	index    replayer
	accounts *accounts
	bodies   bodies
	large    *spoolSyncer
	space    *space
	fs       vfs.FS
	dir      string

	// Of one message, kept for the next one.
	record seglog.Record
	views  [8]recipientView
	body   []byte
}

// fill puts what a backup holds into the empty store in dir, and makes it durable. The facts come last, so a store that was not filled to
// its end knows nobody. It reads ahead, and returns when a read that is under way has ended.
func fill(ctx context.Context, backup io.Reader, dir string, o Options) (report store.BackupReport, err error) {
	r, err := newRestorer(dir, o)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	ahead := newInputAhead(backup)
	defer ahead.close()
	report, err = readBackup(ctx, ahead, func(item *backupItem, body *backupReader) error {
		if item.kind == backupAccounts {
			return r.accounts.load(item.head)
		}
		return r.message(item, body)
	})
	if err == nil {
		err = r.finish()
	}
	return report, err
}

func newRestorer(dir string, o Options) (_ *restorer, err error) {
	r := &restorer{fs: o.FS, dir: dir, bodies: bodies{o.FS, filepath.Join(dir, "bodies")}, body: make([]byte, maxInMemory)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	id, err := loadIdentity(dir)
	if err != nil {
		return nil, err
	}
	if r.space, err = newSpace(o.FS, dir, o.Reserve, o.Log); err != nil {
		return nil, err
	}
	if r.accounts, err = openAccounts(filepath.Join(dir, "accounts.db"), id.storeID(), o.Now); err != nil {
		return nil, err
	}
	r.index.batch = restoreBatch
	if r.index.index, r.index.state, err = buildIndex(o.FS, dir, id.storeID()); err != nil {
		return nil, err
	}
	r.log, err = seglog.Create(filepath.Join(dir, "log"), seglog.Options{
		FS: o.FS, Store: id.storeID(), Key: id.Key, SegmentBytes: o.SegmentBytes,
		Totals: func() seglog.Totals { return r.index.state.totals.wire() },
		Note:   func() [16]byte { return r.index.state.lastID },
	})
	r.large = newSpoolSyncer()
	return r, err
}

// message takes one message.
func (r *restorer) message(item *backupItem, in *backupReader) error {
	view, err := messageHeadInto(r.views[:], item.head, item.flags)
	if err != nil {
		return err
	}
	if r.space.tight(item.size) {
		return fmt.Errorf("%w: the disk is almost full", store.ErrFull)
	}
	r.space.spend(item.size)
	r.record = seglog.Record{Kind: kindRestore, ID: item.id, Body: r.record.Body[:0]}
	if len(view.foreign) > 0 {
		r.record.Flags |= flagForeign
	}
	if item.size > maxInMemory {
		r.record.Flags |= flagExternal
		view.body, err = r.external(item, in)
	} else {
		var body []byte
		body, err = in.body(r.body)
		r.record.Body = append(r.record.Body, body)
	}
	if err != nil {
		return err
	}
	r.record.Head = appendReplaced(0, view.encode(r.record.Flags))
	after, err := r.log.Append(&r.record)
	if err != nil {
		return storeError(err)
	}
	return r.index.apply(&r.record.Header, r.record.Pos, r.record.Head, after)
}

// external puts a large body into a file of its own.
func (r *restorer) external(item *backupItem, in *backupReader) (external, error) {
	file, err := r.bodies.create(item.id)
	if err != nil {
		return external{}, storeError(err)
	}
	for in.left > 0 {
		n, err := in.Read(r.body)
		if err != nil {
			file.discard()
			return external{}, err
		}
		if err := file.write(r.body[:n]); err != nil {
			file.discard()
			return external{}, storeError(err)
		}
	}
	got := file.got
	return got, r.large.add(file)
}

// finish makes all of it durable: the bodies, the log, and then the index that says that it holds all of the log.
func (r *restorer) finish() error {
	if err := errors.Join(r.large.close(), r.fs.SyncDir(r.bodies.dir)); err != nil {
		return storeError(err)
	}
	end, err := r.log.Finish()
	r.log = nil
	if err != nil {
		return storeError(err)
	}
	r.index.state.mark = end // also where nothing was restored
	if err := errors.Join(r.index.flush(), r.index.wait()); err != nil {
		return err
	}
	return r.index.index.finish(r.fs, r.dir)
}

// close gives back what is open, whether it came to its end or not.
func (r *restorer) close() error {
	if r.log != nil {
		r.log.Abort()
	}
	if r.large != nil {
		r.large.close() //nolint:errcheck // finish had its error, or there is another one
	}
	var errs []error
	if r.index.index != nil {
		r.index.wait() //nolint:errcheck // as above
		errs = append(errs, r.index.index.db.Close())
	}
	if r.accounts != nil {
		errs = append(errs, r.accounts.db.Close())
	}
	return errors.Join(errs...)
}

// spoolSyncer makes large bodies durable in the background, one after the other. Four wait at most: those are descriptors.
type spoolSyncer struct {
	spools chan *spool
	done   chan struct{}
	err    error // of the first that failed; read once done is closed
	closed bool
}

func newSpoolSyncer() *spoolSyncer {
	s := &spoolSyncer{spools: make(chan *spool, 4), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *spoolSyncer) run() {
	defer close(s.done)
	for file := range s.spools {
		if s.err = file.settle(); s.err != nil {
			break
		}
	}
}

// add takes a file that is written. Its error may be that of one before.
func (s *spoolSyncer) add(file *spool) error {
	select {
	case s.spools <- file:
		return nil
	case <-s.done:
		file.discard()
		return storeError(s.err)
	}
}

// close returns nil when all files have their names and are durable but for their folder. It is idempotent.
func (s *spoolSyncer) close() error {
	if !s.closed {
		s.closed = true
		close(s.spools)
	}
	<-s.done
	for file := range s.spools { // behind one that failed
		file.discard()
	}
	return s.err
}
