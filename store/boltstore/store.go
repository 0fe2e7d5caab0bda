package boltstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

// ErrNoStore means that the folder holds no store, and Options.Create was not given.
var ErrNoStore = errors.New("no store here")

// Defaults of Options.
const (
	DefaultBodyMemory = 64 << 20
	DefaultHashMemory = 64 << 20
)

// Options configure a store. The zero value opens an existing store with the defaults.
type Options struct {
	Log    zerolog.Logger // what the operator should know: nothing in ordinary life
	Create bool           // make a store where there is none; else Open fails with ErrNoStore

	BodyMemory   int64            // octets of bodies that all drafts hold together; 0: DefaultBodyMemory
	HashMemory   int64            // octets that checking passwords may take at once; 0: DefaultHashMemory
	Reserve      int64            // octets of free space that deliveries leave; 0: DefaultReserve
	SegmentBytes int64            // size at which a segment of the log is sealed; 0: seglog's default
	FS           vfs.FS           // nil: the operating system's
	Now          func() time.Time // nil: time.Now

	// For tests.
	keepHashes      bool // do not replace cheap hashes
	reclaimInterval time.Duration
	ballastInterval time.Duration
	beforeApply     func() error // may fail a transaction of the index
	afterApply      func(*index)
}

func (o *Options) defaults() {
	if o.BodyMemory == 0 {
		o.BodyMemory = DefaultBodyMemory
	}
	if o.HashMemory == 0 {
		o.HashMemory = DefaultHashMemory
	}
	if o.Reserve == 0 {
		o.Reserve = DefaultReserve
	}
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.ballastInterval == 0 {
		o.ballastInterval = defaultBallastInterval
	}
	if o.reclaimInterval == 0 {
		o.reclaimInterval = defaultReclaimInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Store is an open store. It is a store.Deliverer, a store.Pickup and a store.Admin, safe for many goroutines.
type Store struct {
	dir string
	opt Options
	id  identity

	lock      *folderLock
	log       *seglog.Log
	index     *index
	indexer   *indexer
	reclaimer *reclaimer
	accounts  *accounts
	verifier  *secret.Verifier
	ids       idSource
	memory    *bodyMemory
	bodies    bodies
	space     *space

	// admission is held for reading while a message is committed, and for writing while an account is removed: no
	// message is committed to a maildrop that is gone.
	admission sync.RWMutex

	// moving is held for reading while a deletion is written, and for writing while reclaim looks who still has messages
	// and copies them: so every copy stands in front of the deletions of its message.
	moving sync.RWMutex

	mu    sync.Mutex
	inUse map[store.MaildropID]*maildrop
	shut  bool

	indexErr     atomic.Pointer[error]
	lastDelivery atomic.Int64 // Unix nanoseconds
	lastDrain    atomic.Int64
}

// Open opens the store in dir and replays what its index lacks. It fails with ErrLocked while another process holds the
// folder, with ErrNoStore where there is none, and with a *seglog.Corrupt error when acknowledged mail is damaged.
func Open(dir string, o Options) (_ *Store, err error) {
	o.defaults()
	s := &Store{
		dir: dir, opt: o, inUse: map[store.MaildropID]*maildrop{},
		verifier: secret.NewVerifier(o.HashMemory), memory: newBodyMemory(o.BodyMemory), ids: idSource{now: o.Now},
		bodies: bodies{o.FS, filepath.Join(dir, "bodies")},
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if err := s.openFolder(); err != nil {
		return nil, err
	}
	if s.accounts, err = openAccounts(filepath.Join(dir, "accounts.db"), s.id.storeID(), o.Now); err != nil {
		return nil, err
	}
	if err := o.FS.SyncDir(dir); err != nil { // accounts.db may be new
		return nil, err
	}
	if err := s.openMail(); err != nil {
		return nil, err
	}
	go s.indexer.run()
	go s.reclaimer.run()
	return s, nil
}

// openFolder locks the folder and finds out whose it is.
func (s *Store) openFolder() (err error) {
	if s.opt.Create {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
	} else if _, err := os.Stat(filepath.Join(s.dir, identityFile)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNoStore, s.dir)
	}
	if s.lock, err = lockFolder(s.dir); err != nil {
		return err
	}
	s.id, err = loadIdentity(s.dir)
	if errors.Is(err, fs.ErrNotExist) && s.opt.Create {
		s.id, err = makeIdentity(s.opt.FS, s.dir)
	}
	if err != nil {
		return err
	}
	if s.space, err = newSpace(s.opt.FS, s.dir, s.opt.Reserve, s.opt.Log); err != nil {
		return err
	}
	for _, sub := range []string{"log", "bodies"} {
		if err := s.opt.FS.Mkdir(filepath.Join(s.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := s.checkAccounts(); err != nil {
		return err
	}
	return s.opt.FS.SyncDir(s.dir)
}

// checkAccounts refuses a folder that holds mail and not the file that says whose it is: new accounts would get the mail of
// others.
func (s *Store) checkAccounts() error {
	_, err := os.Stat(filepath.Join(s.dir, "accounts.db"))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	segments, err := s.opt.FS.ReadDir(filepath.Join(s.dir, "log"))
	if err == nil && len(segments) > 0 {
		err = fmt.Errorf("%s holds mail but no accounts.db, so nobody can say whose it is: restore that file", s.dir)
	}
	return err
}

// openMail opens the index, rebuilding it where that is in doubt, and replays the log behind it.
func (s *Store) openMail() error {
	// A disk that was full when the store was last open is full still, and opening writes.
	s.space.makeRoom(indexRoom)
	if _, err := os.Stat(s.condemnedName()); !errors.Is(err, fs.ErrNotExist) {
		s.opt.Log.Warn().Msg("the index could not be written when it was last open: rebuilding it from the log")
		if err := s.dropIndex(); err != nil {
			return err
		}
	}
	at, err := s.replay()
	if err != nil && (isCorruptIndex(err) || errors.Is(err, seglog.ErrStale)) {
		s.opt.Log.Warn().AnErr("reason", err).Msg("rebuilding the index from the log")
		if err := errors.Join(s.closeIndex(), s.dropIndex()); err != nil {
			return err
		}
		at, err = s.replay()
	}
	if err != nil {
		return err
	}
	s.ids.saw(at.lastID)
	if err := s.settleFolder(); err != nil {
		return err
	}
	s.indexer = newIndexer(s.index, at, s.condemnIndex, s.removeBodies)
	s.reclaimer = newReclaimer(s)
	s.indexer.wakeUp = s.reclaimer.signal
	s.index.before, s.index.after = s.beforeApply, s.opt.afterApply
	return nil
}

// replay opens index and log and applies what the index lacks.
func (s *Store) replay() (_ state, err error) {
	var at state
	if s.index, at, err = openIndex(filepath.Join(s.dir, "index.db"), s.id.storeID()); err != nil {
		return at, err
	}
	replayed := replayer{index: s.index, state: at}
	opt := seglog.Options{
		FS: s.opt.FS, Store: s.id.storeID(), Key: s.id.Key, Flags: flagExternal, SegmentBytes: s.opt.SegmentBytes,
		Durable: s.durable,
		Began:   func(l *seglog.Log) { s.index.has = l.Has },
		Enter: func(t seglog.Totals, lastID [16]byte) {
			replayed.state.totals = totalsOf(t)
			replayed.state.saw(lastID)
		},
		Totals: func() seglog.Totals {
			at := s.atEnd(&replayed)
			return at.totals.wire()
		},
		Note: func() [16]byte { return s.atEnd(&replayed).lastID },
	}
	log, err := seglog.Open(filepath.Join(s.dir, "log"), at.mark, opt, replayed.apply)
	if err != nil {
		return at, err
	}
	if err := replayed.flush(); err != nil {
		log.Close() //nolint:errcheck // err says more
		return at, err
	}
	s.log = log
	return replayed.state, nil
}

// settleFolder brings what is not the log's in line with it.
func (s *Store) settleFolder() error {
	if err := s.bodies.sweep(s.index.alive); err != nil {
		return err
	}
	if err := s.index.forget(); err != nil {
		return err
	}
	largest, err := s.index.largestDrop()
	if err != nil {
		return err
	}
	return s.accounts.reserve(largest)
}

func (s *Store) closeIndex() error {
	if s.index == nil {
		return nil
	}
	ix := s.index
	s.index = nil
	return ix.db.Close()
}

// atEnd is the state behind the log's end: the indexer's, or that of the replay while there is no indexer yet.
func (s *Store) atEnd(r *replayer) state {
	if s.indexer == nil {
		return r.state
	}
	st, _ := s.indexer.snapshot()
	return st
}

// replayer applies what Open replays, in batches: a rebuild of any size takes the memory of one.
type replayer struct {
	index   *index
	state   state
	pending []*change
}

func (r *replayer) apply(h *seglog.Header, pos seglog.Pos, head []byte, after seglog.Mark) error {
	c, err := changeOf(h, pos, head)
	if err != nil {
		return err
	}
	r.pending = append(r.pending, c)
	r.state.pass([]*change{c}, after)
	if len(r.pending) < indexBatch {
		return nil
	}
	return r.flush()
}

// flush writes what was replayed so far.
func (r *replayer) flush() error {
	pieces := parts(r.pending)
	for i, piece := range pieces {
		var after *state
		if i == len(pieces)-1 {
			after = &r.state
		}
		if _, err := r.index.apply(piece, after); err != nil { // the sweep finds the orphans
			return err
		}
	}
	r.pending = r.pending[:0]
	return nil
}

const condemnedFile = "index.condemned"

func (s *Store) condemnedName() string { return filepath.Join(s.dir, condemnedFile) }

// beforeApply makes room for what the index is about to write: a transaction that fails would condemn it.
func (s *Store) beforeApply() error {
	s.space.makeRoom(indexRoom)
	if s.opt.beforeApply != nil {
		return s.opt.beforeApply()
	}
	return nil
}

// condemnIndex leaves a durable mark: what a failed transaction wrote may be visible and yet never have reached the disk.
func (s *Store) condemnIndex(cause error) {
	s.indexErr.CompareAndSwap(nil, &cause)
	err := writeFile(s.opt.FS, s.condemnedName(), []byte("rebuild index.db from the log\n"))
	if err != nil { // for want of space, perhaps: then the index itself goes, which needs none; who has it open goes on
		err = errors.Join(s.opt.FS.Remove(filepath.Join(s.dir, "index.db")), s.opt.FS.SyncDir(s.dir))
	}
	s.opt.Log.Error().AnErr("reason", cause).AnErr("mark", err).Msg("the index can't be written: restart letterbox, which rebuilds it")
}

func (s *Store) removeBodies(ids []store.ID) {
	if err := s.bodies.remove(ids); err != nil {
		s.opt.Log.Warn().AnErr("reason", err).Msg("the file of a deleted message could not be removed: the next start tries again")
	}
}

// dropIndex removes index.db and then the mark that condemned it.
func (s *Store) dropIndex() error {
	for _, name := range []string{filepath.Join(s.dir, "index.db"), s.condemnedName()} {
		if err := s.opt.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := s.opt.FS.SyncDir(s.dir); err != nil {
			return err
		}
	}
	return nil
}

// durable is told of each group by the log's committer.
func (s *Store) durable(records []*seglog.Record, after seglog.Mark) {
	changes := make([]*change, len(records))
	for i, r := range records {
		c := r.Tag.(*change)
		c.placed(&r.Header, r.Pos)
		changes[i] = c
	}
	s.indexer.add(changes, after)
}

// Health returns nil while the store can take and delete mail.
func (s *Store) Health() error {
	if err := s.indexErr.Load(); err != nil {
		return *err
	}
	return s.log.Health()
}

// Close ends open maildrops without deleting anything, makes everything durable and frees the folder.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return nil
	}
	s.shut = true
	open := make([]*maildrop, 0, len(s.inUse))
	for _, m := range s.inUse {
		open = append(open, m)
	}
	s.mu.Unlock()
	for _, m := range open {
		m.lose()
	}
	s.reclaimer.stop()
	_, err := s.log.Close()
	return errors.Join(err, s.indexer.stop(), s.release())
}

// release closes the files that are open, the lock last.
func (s *Store) release() error {
	var errs []error
	if s.log != nil {
		if _, err := s.log.Close(); !errors.Is(err, seglog.ErrClosed) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.closeIndex())
	if s.accounts != nil {
		errs = append(errs, s.accounts.db.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}

// StoreID names this store, for those who connect to it.
func (s *Store) StoreID() string { return hex.EncodeToString(s.id.Store) }

// Figures implements store.Admin.
func (s *Store) Figures(ctx context.Context) (store.Stats, error) { return s.Stats(), ctx.Err() }

// Stats returns the store's counters. It takes no lock that delivery waits for longer than a copy takes.
func (s *Store) Stats() store.Stats {
	st, pending := s.indexer.snapshot()
	c := s.log.Counts()
	dir := s.accounts.directory()
	s.mu.Lock()
	open := len(s.inUse)
	s.mu.Unlock()
	free, _, _ := s.opt.FS.Space(s.dir)
	stats := store.Stats{
		Messages: st.totals.present(), Octets: st.totals.octets,
		Delivered: st.totals.delivered, Deleted: st.totals.deleted + st.totals.removed + st.totals.expired,
		Accounts: len(dir.accounts), Aliases: len(dir.aliases) + len(dir.domainAliases), CatchAlls: len(dir.catchAlls),
		LogBytes: c.Bytes, FreeBytes: free, Segments: c.Segments, Pending: int64(pending),
		Groups: c.Groups, GroupRecords: c.Records, SyncSeconds: c.SyncTime.Seconds(), WriteErrors: c.WriteErrors,
		OpenMaildrops: open, LastDelivery: unixNano(s.lastDelivery.Load()), LastDrain: unixNano(s.lastDrain.Load()),
	}
	for _, a := range dir.accounts {
		if a.Disabled {
			stats.Disabled++
		}
	}
	if info, err := os.Stat(filepath.Join(s.dir, "index.db")); err == nil {
		stats.IndexBytes = info.Size()
	}
	return stats
}

func unixNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// append writes one record and waits until it is durable.
func (s *Store) append(ctx context.Context, r *seglog.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.Health(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if err := s.log.Append(r); err != nil {
		return storeError(err)
	}
	return nil
}
