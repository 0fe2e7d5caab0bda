package boltstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store/vfs"
)

const (
	// DefaultReserve is the space that deliveries leave to deletions, reclaim and the index: reclaim copies at most half a
	// segment before it gives one back.
	DefaultReserve = 64 << 20
	// ballastBytes is the size of the ballast.
	ballastBytes = 32 << 20
	// indexRoom is the free space below which the ballast is given up before the index is written: one of its transactions
	// takes less.
	indexRoom = 16 << 20
	// defaultBallastInterval is how often the store looks whether the ballast can be made. It is not made at once: a store
	// that is open for a moment needs none, and a start should not wait for it.
	defaultBallastInterval = 5 * time.Second
	// spaceAge is how old an answer about the free space may be.
	spaceAge = 250 * time.Millisecond
)

// space keeps deliveries from filling the disk to the brim, and holds a file that is given up when somebody else did: mail
// can then still be fetched and deleted, which is how room comes back. On a small file system both are smaller: a sixteenth
// of it.
type space struct {
	fs      vfs.FS
	dir     string
	log     zerolog.Logger
	reserve int64
	size    int64 // of the ballast

	mu      sync.Mutex
	free    int64
	asked   time.Time
	ballast bool
}

func newSpace(fsys vfs.FS, dir string, reserve int64, log zerolog.Logger) (*space, error) {
	_, size, err := fsys.Space(dir)
	if err != nil {
		return nil, err
	}
	s := &space{fs: fsys, dir: dir, log: log, reserve: min(reserve, size/16), size: min(ballastBytes, size/16)}
	if info, err := os.Stat(s.name()); err == nil && info.Size() == s.size {
		s.ballast = true
	}
	return s, nil
}

func (s *space) name() string { return filepath.Join(s.dir, "ballast") }

// look asks for the free space. The lock is held.
func (s *space) look() {
	if time.Since(s.asked) < spaceAge {
		return
	}
	free, _, err := s.fs.Space(s.dir)
	if err != nil {
		return // the next write will say what is wrong
	}
	s.free, s.asked = free, time.Now()
}

// restore makes the ballast when it is not there and there is plenty of room. Only one goroutine calls it.
func (s *space) restore() {
	s.mu.Lock()
	s.asked = time.Time{}
	s.look()
	wanted := !s.ballast && s.free > 2*(s.reserve+s.size)
	s.mu.Unlock()
	if !wanted {
		return
	}
	err := s.put()
	if err != nil {
		s.fs.Remove(s.name()) //nolint:errcheck // makeRoom tries again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ballast, s.asked = err == nil, time.Time{}
}

// put writes the ballast: octets that no file system can leave out.
func (s *space) put() error {
	f, err := s.fs.OpenFile(s.name(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	piece := make([]byte, 1<<20)
	for i := range piece {
		piece[i] = byte(i)
	}
	for off := int64(0); off < s.size && err == nil; off += int64(len(piece)) {
		err = f.WriteVec([][]byte{piece[:min(int64(len(piece)), s.size-off)]}, off)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// spend takes down what was written since the last look.
func (s *space) spend(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free -= n
}

// tight tells whether there is no room for octets more. What is in memory on its way needs no room of its own: the reserve
// is as large. Sizes that senders only declare are not added up, or a few of them could keep all others out.
func (s *space) tight(octets int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	need := s.reserve
	if !s.ballast {
		need += s.size
	}
	return s.free-need < octets
}

// makeRoom gives the ballast up when less than room is free. It tells whether that helped.
func (s *space) makeRoom(room int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if free, _, err := s.fs.Space(s.dir); err != nil || free >= room {
		return false
	}
	err := s.fs.Remove(s.name()) // also one that was never finished
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		s.log.Error().AnErr("reason", err).Msg("the disk is full, and the ballast could not be given up")
		return false
	}
	s.ballast, s.asked = false, time.Time{}
	s.log.Warn().Msg("the disk is full: the ballast was given up so that mail can be fetched and deleted")
	return true
}
