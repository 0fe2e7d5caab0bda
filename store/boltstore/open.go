package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

// Open opens the store in dir and replays what its index lacks. It fails with ErrLocked while another process holds the
// folder, with ErrNoStore where there is none, and with a *seglog.Corrupt error when acknowledged mail is damaged.
func Open(dir string, o Options) (_ *Store, err error) {
	o.defaults()
	s := &Store{
		dir: dir, opt: o, inUse: map[store.MaildropID]*maildrop{},
		verifier: secret.NewVerifier(o.HashMemory), memory: newBodyMemory(o.BodyMemory), ids: idSource{now: o.Now},
		bodies: bodies{o.FS, filepath.Join(dir, "bodies")}, opened: o.Now().Truncate(time.Millisecond),
	}
	s.verified, s.throttle = secret.NewCache[credential](o.Now), secret.NewThrottle(o.Now, o.Logins.Throttle)
	s.logins = newLogins(s)
	s.policy.Store(&o.Logins)
	s.SetKeep(o.Keep)
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
	if s.blockUses, err = s.newBlockUses(); err != nil {
		return nil, err
	}
	if err := o.FS.SyncDir(dir); err != nil { // accounts.db may be new
		return nil, err
	}
	if err := s.openMail(); err != nil {
		if isCorruptIndex(err) { // what it came across late the next start knows
			s.condemnIndex(err)
		}
		return nil, err
	}
	s.openHistory()
	go s.indexer.run()
	go s.reclaimer.run()
	go s.logins.run()
	go s.keeper.run()
	go s.index.warm(warmFirst)
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
	if err := os.RemoveAll(filepath.Join(s.dir, restoringFolder)); err != nil { // left by a kill behind a restore's last step
		return err
	}
	if err := s.id.upgrade(s.opt.FS, s.dir); err != nil {
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
	if _, err := os.Stat(s.repairMark()); !errors.Is(err, fs.ErrNotExist) { // its places may not be the log's any more
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
	waiting, err := s.index.counts()
	if err != nil {
		return err
	}
	s.indexer = newIndexer(s.index, at, waiting, s.condemnIndex, s.removeBodies)
	s.reclaimer = newReclaimer(s)
	s.keeper = newKeeper(s, s.loadClock(at.lastID))
	s.lookAtClock()
	s.indexer.wakeUp = s.reclaimer.signal
	s.index.before, s.index.after, s.index.took = s.beforeApply, s.opt.afterApply, s.opt.Observer.Indexed
	return nil
}

// openIndex opens the index, or begins to build it where there is none.
func (s *Store) openIndex() (at state, err error) {
	name := filepath.Join(s.dir, indexFile)
	if _, err = os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		s.index, at, err = buildIndex(s.opt.FS, s.dir, s.id.storeID())
		return at, err
	}
	s.index, at, err = openIndex(name, s.id.storeID())
	return at, err
}

// replay opens index and log and applies what the index lacks.
func (s *Store) replay() (_ state, err error) {
	at, err := s.openIndex()
	if err != nil {
		return at, err
	}
	replayed := replayer{index: s.index, state: at, shown: s.opt.shown, batch: buildBatch}
	opt := seglog.Options{
		FS: s.opt.FS, Store: s.id.storeID(), Key: s.id.Key, Flags: knownFlags, SegmentBytes: s.opt.SegmentBytes,
		Durable: s.durable, Synced: s.opt.Observer.Synced,
		Began: func(l *seglog.Log) { s.index.has = l.Has },
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
		return at, errors.Join(err, replayed.wait())
	}
	err = errors.Join(replayed.flush(), replayed.wait())
	if err == nil {
		err = s.index.finish(s.opt.FS, s.dir)
	}
	if err != nil {
		log.Close() //nolint:errcheck // err says more
		return at, err
	}
	s.log = log
	return replayed.state, nil
}

// settleFolder brings what is not the log's in line with it.
func (s *Store) settleFolder() error {
	if err := s.settleBodies(); err != nil {
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
	err := vfs.WriteFile(s.opt.FS, s.condemnedName(), []byte("rebuild index.db from the log\n"))
	if err != nil { // for want of space, perhaps: then the index itself goes, which needs none; who has it open goes on
		err = errors.Join(s.opt.FS.Remove(filepath.Join(s.dir, indexFile)), s.opt.FS.SyncDir(s.dir))
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
	for _, name := range []string{filepath.Join(s.dir, indexFile), s.condemnedName()} {
		if err := s.opt.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := s.opt.FS.SyncDir(s.dir); err != nil {
			return err
		}
	}
	return nil
}

// newest is the time of the largest id that was given; zero in a new store.
func newest(id store.ID) time.Time {
	if id.IsZero() {
		return time.Time{}
	}
	return id.Time()
}
