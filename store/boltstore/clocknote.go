package boltstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

const (
	clockFile = "clock"
	// clockNoteEvery is how far the note in the folder may be behind.
	clockNoteEvery = time.Hour
)

// clockNote is what is known of the machine's clock and no clock can say later. The folder keeps it, as one line: the CRC-32C of
// what follows in hexadecimal digits, a space, and a JSON object.
type clockNote struct {
	Since   time.Time     `json:"since,omitzero"`   // when the clock was first believed in this store; zero: never yet
	Steady  time.Time     `json:"steady,omitzero"`  // since when it has been believed without a break; zero: it is not
	Trusted time.Time     `json:"trusted,omitzero"` // what it said when it was last believed
	Doubted time.Time     `json:"doubted,omitzero"` // what it said at the last look, while it is not believed
	Even    time.Duration `json:"even,omitempty"`   // nanoseconds for which it had gone evenly then
}

// look takes down one look at the clock, which has gone evenly for a while. Only one that did so for long says that it was ahead
// before: one that is behind is set right by then.
func (n *clockNote) look(now time.Time, trusted bool, even time.Duration) {
	now = now.UTC().Truncate(time.Millisecond)
	if !trusted {
		n.Doubted, n.Even, n.Steady = now, even, time.Time{}
		return
	}
	n.Trusted, n.Doubted, n.Even = now, time.Time{}, 0
	for _, t := range []*time.Time{&n.Since, &n.Steady} {
		if t.IsZero() || now.Before(*t) && even >= quarantine {
			*t = now
		}
	}
}

// news tells whether what was noted before is to be replaced.
func (n *clockNote) news(before clockNote) bool {
	apart := func(a, b time.Time) bool { return a.Sub(b).Abs() >= clockNoteEvery }
	return !n.Since.Equal(before.Since) || !n.Steady.Equal(before.Steady) || apart(n.Trusted, before.Trusted) || apart(n.Doubted, before.Doubted)
}

// arrived is from when on a message's time counts that its id says it came at: not before the clock was first believed here. So
// what was restored counts from then on, and so does what came while the clock of a new store was in 1970.
func (n *clockNote) arrived(at time.Time) time.Time {
	if at.Before(n.Since) {
		return n.Since
	}
	return at
}

// binned is from when on the time of a message in the bin counts. What a clock that was ahead put there, since when nobody knows,
// counts from when that clock was set right.
func (n *clockNote) binned(at, now time.Time) time.Time {
	if at.After(now) && !n.Steady.IsZero() {
		at = n.Steady
	}
	return n.arrived(at)
}

// loadClock reads the note. Of a store from before there was one the newest record says what time it was, once: it is noted
// before a clock that is wrong now can write another.
func (s *Store) loadClock(lastID store.ID) clockNote {
	var n clockNote
	text, err := os.ReadFile(s.clockName())
	if err == nil {
		sum, object, _ := bytes.Cut(bytes.TrimSuffix(text, []byte("\n")), []byte(" "))
		if string(sum) == clockSum(object) && json.Unmarshal(object, &n) == nil {
			s.clockNoted = n
			return n
		}
		s.opt.Log.Warn().Msg("what was noted of the machine's clock can't be read: it is noted anew")
		return clockNote{Trusted: newest(lastID)}
	}
	if errors.Is(err, fs.ErrNotExist) && !lastID.IsZero() {
		n = clockNote{Since: time.Unix(0, 0).UTC(), Trusted: newest(lastID)}
	}
	return n
}

func (s *Store) clockName() string { return filepath.Join(s.dir, clockFile) }

func clockSum(object []byte) string { return fmt.Sprintf("%08x", crc32.Checksum(object, castagnoli())) }

// lookAtClock tells what the clock says and whether that may be believed, and keeps what is to be kept of that.
func (s *Store) lookAtClock() (time.Time, bool) {
	now, ok := s.keeper.clock.trusted()
	s.noteClock()
	return now, ok
}

// binMoment is when something goes into a bin: what the clock says, or, where it is behind that, when it was last believed.
func (s *Store) binMoment() time.Time {
	now, _ := s.lookAtClock()
	if n := s.keeper.clock.noted(); now.Before(n.Trusted) {
		return n.Trusted
	}
	return now
}

// noteClock makes durable what is known of the clock, where that is news.
func (s *Store) noteClock() {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	n := s.keeper.clock.noted()
	if !n.news(s.clockNoted) {
		return
	}
	object, err := json.Marshal(n)
	if err == nil {
		err = vfs.WriteFile(s.opt.FS, s.clockName(), fmt.Appendf(nil, "%s %s\n", clockSum(object), object))
	}
	if err != nil {
		s.opt.Log.Warn().AnErr("reason", err).Msg("what is known of the machine's clock could not be noted: trying again later")
		return
	}
	s.clockNoted = n
}
