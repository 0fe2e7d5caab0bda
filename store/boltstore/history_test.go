package boltstore

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// kinds returns what the history knows of a text, in short.
func (ts *testStore) kinds(text string) string {
	ts.Helper()
	traced, err := ts.Trace(ts.Context(), store.Query{Text: text})
	if err != nil {
		ts.Fatal(err)
	}
	var words []string
	for _, e := range traced.Events {
		words = append(words, string(e.Kind))
	}
	return strings.Join(words, " ")
}

func (ts *testStore) knows(text, want string) {
	ts.Helper()
	if got := ts.kinds(text); got != want {
		ts.Errorf("%s: %q, want %q", text, got, want)
	}
}

func (ts *testStore) days() (days []string) {
	ts.Helper()
	files, err := filepath.Glob(filepath.Join(ts.dir, historyFolder, "*.jsonl"))
	if err != nil {
		ts.Fatal(err)
	}
	for _, name := range files {
		days = append(days, filepath.Base(name)[:len(time.DateOnly)])
	}
	return days
}

// TestHistoryKept: all that may happen to a message stands in the history, which outlives a restart, and goes when its time
// has come.
func TestHistoryKept(t *testing.T) {
	p := KeepPolicy{ExpireAfter: 20 * day, UndeleteFor: 7 * day, HistoryFor: 30 * day, HistoryBytes: 1 << 20}
	k := newKeptStore(t, p)
	first, second := k.send(pattern(100)).String(), k.send(pattern(100)).String()
	k.knows(first, "accepted")
	k.pass(time.Hour)
	k.remove([]int{0})
	k.pass(time.Hour)
	if n, err := k.Undelete(t.Context(), "me@here.example", time.Time{}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	k.knows(first, "accepted deleted undeleted")
	k.pass(19*day + 23*time.Hour)
	k.knows(second, "accepted expired")
	k.pass(2 * time.Hour)
	k.knows(first, "accepted deleted undeleted expired") // which writes it under the day that it is
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k.Store = openTest(t, k.dir, k.options(p))
	k.knows(first, "accepted deleted undeleted expired")
	if days := k.days(); !slices.Equal(days, []string{"2026-06-01", "2026-06-21"}) {
		t.Errorf("days %v", days)
	}
	k.pass(14 * day)
	k.knows(second, "expired") // its first day is gone
	k.pass(40 * day)
	k.knows(first, "")
	if days := k.days(); len(days) != 0 {
		t.Errorf("days %v", days)
	}
}

// TestHistoryClock: a clock that is wrong lets no history go, and a history that is switched off goes by any clock.
func TestHistoryClock(t *testing.T) {
	p := KeepPolicy{HistoryFor: 30 * day, HistoryBytes: 1 << 20}
	k := newKeptStore(t, p)
	id := k.send(pattern(100)).String()
	k.knows(id, "accepted")
	right := k.clock.Load()
	for _, wrong := range []int64{0, time.Date(2036, 6, 1, 0, 0, 0, 0, time.UTC).UnixMilli()} {
		k.clock.Store(wrong)
		k.pass(3 * time.Hour)
		k.send(pattern(100))
		k.knows(id, "accepted")
	}
	k.clock.Store(right + time.Duration(k.went.Load()).Milliseconds())
	k.pass(26 * time.Hour)
	k.knows(id, "accepted")
	k.clock.Store(0)
	k.SetKeep(KeepPolicy{})
	k.pass(time.Hour)
	if days := k.days(); len(days) != 0 || k.Stats().HistoryBytes != 0 {
		t.Errorf("days %v", days)
	}
}

// TestHistoryReaders: who reads mail without a session took none, and a session that is cut off in the middle of a message
// neither.
func TestHistoryReaders(t *testing.T) {
	ts := cheapStore(t, Options{Keep: KeepPolicy{HistoryFor: day, HistoryBytes: 1 << 20}})
	id := ts.send(pattern(100_000))
	if err := ts.Copy(t.Context(), "me@here.example", id, io.Discard); err != nil {
		t.Fatal(err)
	}
	m, err := ts.openBy("right")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Retrieve(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r, 50_000); err != nil {
		t.Fatal(err)
	}
	r.Close()
	ts.knows(id.String(), "accepted")
	if r, err = m.Retrieve(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	m.Close()
	ts.knows(id.String(), "accepted retrieved")
}

// TestHistoryUnreadable: a folder that can't be used holds nothing up but the history.
func TestHistoryUnreadable(t *testing.T) {
	o := Options{Keep: KeepPolicy{HistoryFor: day, HistoryBytes: 1 << 20}}
	ts := newTestStore(t, o)
	ts.again(o, func(dir string) {
		if err := os.RemoveAll(filepath.Join(dir, historyFolder)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, historyFolder), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	id := ts.send(pattern(100))
	ts.remove([]int{0})
	ts.knows(id.String(), "")
	if ts.Stats().HistoryDropped == 0 {
		t.Error("nothing counts what was dropped")
	}
}
