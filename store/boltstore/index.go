package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// indexFile is its name.
const indexFile = "index.db"

// indexFormat is the version of index.db. Another version is not migrated but rebuilt from the log.
const indexFormat = 3

// Buckets of index.db. doc.go describes their keys and values.
var (
	bucketMeta    = []byte("meta")
	bucketEntries = []byte("entries")
	bucketBin     = []byte("bin")
	bucketIDs     = []byte("ids")
	bucketDrops   = []byte("maildrops")

	bucketSegments = []byte("segments")
)

// Keys of bucketMeta.
var (
	keyFormat = []byte("format")
	keyState  = []byte("state")
)

func indexBuckets() [][]byte {
	return [][]byte{bucketMeta, bucketEntries, bucketBin, bucketIDs, bucketDrops, bucketSegments}
}

// guarded calls f, and makes an error of what bbolt does where a page is damaged: it panics, or reads behind the end of the file or of
// its memory, by which the process would end.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPage, p)
		}
	}()
	return f()
}

// openTimeout is how long bbolt waits for its own lock; the folder's lock was taken before, so nobody should hold it.
const openTimeout = 5 * time.Second

// errIndex means that index.db can't be used and is to be rebuilt from the log.
var errIndex = errors.New("index is to be rebuilt")

// errPage means that a page of a bbolt file is damaged.
var errPage = errors.New("a page is damaged")

// index is index.db: for each question about mail an answer that the log could give again.
type index struct {
	db   *bbolt.DB
	file *os.File                  // what db has open, and closes
	has  func(segment uint64) bool // set once the log is open, before anything is applied

	built  string // the name under which it is being built; empty: it has its own
	gentle bool   // deliveries run beside: a large deletion pauses for them

	failed atomic.Pointer[error] // of a transaction: what the file holds is not known from then on
	before func() error          // called before each apply, which it may fail
	after  func(*index)          // for tests: sees what apply made durable
	took   func(time.Duration)   // told of each transaction
}

// view runs a transaction that reads.
func (ix *index) view(f func(tx *bbolt.Tx) error) error {
	return guarded(func() error { return ix.db.View(f) })
}

// update runs a synced transaction. After one that failed there is no other: the failed one may be visible although it never
// reached the disk.
func (ix *index) update(f func(tx *bbolt.Tx) error) error {
	if err := ix.failed.Load(); err != nil {
		return *err
	}
	began := time.Now()
	err := guarded(func() error { return ix.db.Update(f) })
	if ix.took != nil {
		ix.took(time.Since(began))
	}
	if err != nil {
		ix.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// state is what the index says of itself: up to where of the log it reaches, and what it counted.
type state struct {
	mark   seglog.Mark
	totals totals
	lastID store.ID
}

// openIndex opens or makes index.db for the store with this id. errIndex: remove it and call again.
func openIndex(path string, storeID [16]byte) (*index, state, error) {
	db, file, err := openBolt(path, initialMmap())
	if err != nil {
		return nil, state{}, fmt.Errorf("%w: %w", errIndex, err)
	}
	ix := &index{db: db, file: file}
	st, err := ix.load(storeID)
	if err != nil {
		db.Close() //nolint:errcheck // err says more
		return nil, state{}, err
	}
	return ix, st, nil
}

// openBolt also returns the file that the database has open, and closes. mapped is the size of its first place in memory, 0 for bbolt's own.
func openBolt(path string, mapped int) (db *bbolt.DB, file *os.File, err error) {
	err = guarded(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:         openTimeout,
			FreelistType:    bbolt.FreelistMapType,
			InitialMmapSize: mapped,
			OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		})
		return err
	})
	if errors.Is(err, errPage) {
		_ = unix.Flock(int(file.Fd()), unix.LOCK_UN) // the memory stays until the process ends, and would keep the lock
		file.Close()                                 //nolint:errcheck // err says more
	}
	return db, file, err
}

func (ix *index) load(storeID [16]byte) (st state, err error) {
	wanted := append([]byte{indexFormat}, storeID[:]...)
	err = ix.update(func(tx *bbolt.Tx) error {
		if info, err := ix.file.Stat(); err != nil || info.Size() < tx.Size() {
			return fmt.Errorf("%w: it is shorter than it was", errIndex)
		}
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return ix.create(tx, wanted)
		}
		for _, name := range indexBuckets() {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: it has no %s", errIndex, name)
			}
		}
		if !bytes.Equal(meta.Get(keyFormat), wanted) {
			return fmt.Errorf("%w: it has another format, or belongs to another store", errIndex)
		}
		if !st.decode(meta.Get(keyState)) {
			return fmt.Errorf("%w: its position can't be read", errIndex)
		}
		return nil
	})
	return st, err
}

func (ix *index) create(tx *bbolt.Tx, format []byte) error {
	for _, name := range indexBuckets() {
		b, err := tx.CreateBucketIfNotExists(name)
		if err != nil {
			return err
		}
		if name[0] == 'i' || name[0] == 'e' {
			b.FillPercent = 0.9 // keys mostly ascend
		}
	}
	meta := tx.Bucket(bucketMeta)
	if err := meta.Put(keyFormat, format); err != nil {
		return err
	}
	return meta.Put(keyState, state{}.encode())
}

func (s state) encode() []byte {
	b := make([]byte, 0, 160)
	for _, v := range []uint64{s.mark.Segment, uint64(s.mark.Offset), s.mark.Seq, uint64(s.mark.Chain)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, v := range s.totals.wire() {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return append(b, s.lastID[:]...)
}

func (s *state) decode(b []byte) bool {
	if len(b) != 4*8+len(seglog.Totals{})*8+16 {
		return false
	}
	word := func() uint64 {
		v := binary.LittleEndian.Uint64(b)
		b = b[8:]
		return v
	}
	s.mark.Segment, s.mark.Offset, s.mark.Seq, s.mark.Chain = word(), int64(word()), word(), uint32(word())
	var t seglog.Totals
	for i := range t {
		t[i] = word()
	}
	s.totals = totalsOf(t)
	copy(s.lastID[:], b)
	return true
}

// maxPrealloc bounds what is believed of a maildrop's count before it is counted.
const maxPrealloc = 1 << 20

// list calls size with about how many entries a maildrop has, and each with every one of them, in the order of their
// arrival. It is one transaction: neither does anything that takes long.
func (ix *index) list(drop store.MaildropID, size func(n int64), each func(*entry)) (err error) {
	return ix.listIn(bucketEntries, drop, func(c counts) int64 { return c.messages }, size, each)
}

// listBin is list for what lies in the bin, in the order of its arrival too.
func (ix *index) listBin(drop store.MaildropID, each func(*entry)) error {
	return ix.listIn(bucketBin, drop, func(c counts) int64 { return c.binned }, func(int64) {}, each)
}

func (ix *index) listIn(bucket []byte, drop store.MaildropID, counted func(counts) int64, size func(n int64), each func(*entry)) (err error) {
	return ix.view(func(tx *bbolt.Tx) error {
		prefix := entryKey(drop, 0)[:8]
		want := counted(decodeCounts(tx.Bucket(bucketDrops).Get(prefix)))
		size(min(max(want, 0), maxPrealloc))
		c := tx.Bucket(bucket).Cursor()
		ahead := ix.readAhead(tx, want)
		var e entry
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			ahead.passed(k)
			if !e.decode(k, v) {
				return fmt.Errorf("%w: an entry of maildrop %d can't be read", errIndex, drop)
			}
			each(&e)
			want--
		}
		if want != 0 {
			return fmt.Errorf("%w: maildrop %d does not hold what it counts", errIndex, drop)
		}
		return nil
	})
}

// refs returns where the entries of a message are; false when nobody has it.
func (ix *index) refs(id store.ID) (r refs, ok bool, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		value := tx.Bucket(bucketIDs).Get(id[:])
		if ok = value != nil; ok && !r.decode(id, value) {
			return fmt.Errorf("%w: the references of %s can't be read", errIndex, id)
		}
		return nil
	})
	return r, ok, err
}

// largestDrop returns the largest maildrop that has mail.
func (ix *index) largestDrop() (drop store.MaildropID, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		if k, _ := tx.Bucket(bucketDrops).Cursor().Last(); len(k) == 8 {
			drop = store.MaildropID(binary.BigEndian.Uint64(k))
		}
		return nil
	})
	return drop, err
}

func isCorruptIndex(err error) bool {
	return errors.Is(err, errIndex) || errors.Is(err, errPage) || errors.Is(err, bolterrors.ErrInvalid) || errors.Is(err, bolterrors.ErrChecksum) ||
		errors.Is(err, bolterrors.ErrVersionMismatch)
}
