package boltstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
	"example.org/letterbox/store/history"
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
	Logins       LoginPolicy      // until SetLogins replaces it

	Observer Observer // nil: nobody

	Keep  KeepPolicy // until SetKeep replaces it
	Built time.Time  // when the program was built; a clock behind that expires nothing
	Brief bool       // open for one command: nothing expires by a configuration that may not be the daemon's

	salvaged func(store.Finding) // told of each body that is set aside behind a repair; nil: Log
	shown    *shown              // told how much of the log was replayed; nil: nobody

	// For tests.
	keepHashes      bool // do not replace cheap hashes
	countInterval   time.Duration
	reclaimInterval time.Duration
	ballastInterval time.Duration
	noteInterval    time.Duration
	keepInterval    time.Duration
	auditDelay      time.Duration
	elapsed         func() time.Duration // nil: the system's, which no setting of its clock moves
	sleep           func(context.Context, time.Duration) error
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
	if o.noteInterval == 0 {
		o.noteInterval = defaultNoteInterval
	}
	if o.sleep == nil {
		o.sleep = sleep
	}
	if o.countInterval == 0 {
		o.countInterval = defaultCountInterval
	}
	if o.keepInterval == 0 {
		o.keepInterval = defaultKeepInterval
	}
	if o.auditDelay == 0 {
		o.auditDelay = defaultAuditDelay
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.elapsed == nil {
		o.elapsed = elapsed()
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
	blockUses *blockUses
	verifier  *secret.Verifier
	verified  *secret.Cache[credential]
	throttle  *secret.Throttle
	logins    *logins
	policy    atomic.Pointer[LoginPolicy]
	ids       idSource
	memory    *bodyMemory
	bodies    bodies
	space     *space

	// admission is held for reading while a message is committed, and for writing while an account is removed: no
	// message is committed to a maildrop that is gone.
	admission sync.RWMutex

	// moving is held for reading while a deletion is written, and for writing while reclaim looks who still has messages
	// and copies them: so every copy stands in front of the deletions of its message. Who takes both takes admission first.
	moving sync.RWMutex

	mu    sync.Mutex
	inUse map[store.MaildropID]*maildrop
	shut  bool

	history    *history.Log
	keeper     *keeper
	clockMu    sync.Mutex
	clockNoted clockNote // what stands in the folder
	undeleting sync.Mutex
	imports    imports
	keep       atomic.Pointer[KeepPolicy]
	mismatch   atomic.Int64 // of entries, as the last audit found them
	lastBackup atomic.Int64 // Unix nanoseconds
	takeovers  atomic.Uint64

	backupFailures atomic.Uint64

	opened  time.Time
	readers readers
	canary  canary

	indexErr     atomic.Pointer[error]
	lastDelivery atomic.Int64 // Unix nanoseconds
	lastDrain    atomic.Int64
	lastVerify   atomic.Int64 // of one that found no damage
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

// Alive returns once it has had, one after the other, the locks that sessions and deliveries take and that nobody holds while a
// disk works. Where they are in a deadlock it never does: it is for a watchdog.
func (s *Store) Alive() {
	s.openMaildrops()
	s.indexer.isUrgent()
}

// openMaildrops returns how many are locked now.
func (s *Store) openMaildrops() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.inUse)
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
	s.keeper.stop()
	s.logins.stop()
	s.blockUses.stop()
	s.reclaimer.stop()
	s.history.Close()
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

// Figures implements store.Admin. What it has beyond Stats costs a look at each large body.
func (s *Store) Figures(ctx context.Context) (stats store.Stats, err error) {
	stats = s.Stats()
	stats.BodyBytes, err = s.bodies.octets(ctx)
	return stats, err
}

// Stats returns the store's counters. It takes no lock that a delivery takes, and asks the index for one thing alone, in a
// transaction of its own that no delivery waits for.
func (s *Store) Stats() store.Stats {
	f := s.indexer.figures.Load()
	oldest, _ := s.index.oldestUnseen(s.readers.unseen()) // damage is found by those who need the entry
	c := s.log.Counts()
	dir := s.accounts.directory()
	free, _, _ := s.opt.FS.Space(s.dir)
	stats := store.Stats{
		Messages: f.totals.present(), Octets: f.totals.octets,
		Delivered: f.totals.delivered, Deleted: f.totals.deleted + f.totals.removed + f.totals.expired,
		Accounts: len(dir.accounts), Aliases: len(dir.aliases) + len(dir.domainAliases), CatchAlls: len(dir.catchAlls),
		LogBytes: c.Bytes, FreeBytes: free, Segments: c.Segments, Pending: int64(f.pending),
		Groups: c.Groups, GroupRecords: c.Records, SyncSeconds: c.SyncTime.Seconds(), WriteErrors: c.WriteErrors,
		OpenMaildrops: s.openMaildrops(), LastDelivery: unixNano(s.lastDelivery.Load()), LastDrain: unixNano(s.lastDrain.Load()),
		Writable: s.Health() == nil, Lost: f.totals.lost, Oldest: oldest, PendingSince: f.since,
		LiveShare: s.reclaimer.liveShare(), Reclaimed: s.reclaimer.segments.Load(), ReclaimedBytes: s.reclaimer.octets.Load(),
		LastVerify: unixNano(s.lastVerify.Load()), LastBackup: unixNano(s.lastBackup.Load()), BackupFailures: s.backupFailures.Load(),
		Mismatch: s.mismatch.Load(), Takeovers: s.takeovers.Load(), QuotaUsed: s.quotaUsed(dir, f.totals),
		HistoryBytes: s.history.Bytes(), HistoryDropped: s.history.Dropped(),
	}
	stats.HashRunning, stats.HashWaiting = s.verifier.Load()
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
