package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.org/letterbox/store/vfs"
)

// seen is what a log told about a record, by Durable or by replay.
type seen struct {
	id   [16]byte
	seq  uint64
	pos  Pos
	head string
}

// logTest opens and closes one log and keeps account of what it says.
type logTest struct {
	*testing.T
	dir  string
	opt  Options
	log  *Log
	mark Mark // behind what a caller would have applied
	mu   sync.Mutex
	have []seen
}

func newLogTest(t *testing.T, opt Options) *logTest {
	lt := &logTest{T: t, dir: t.TempDir(), opt: opt}
	if lt.opt.FS == nil {
		lt.opt.FS = vfs.OS{}
	}
	lt.opt.Key = bytes.Repeat([]byte{7}, 32)
	lt.opt.Store = [16]byte{1, 2, 3}
	lt.opt.Durable = func(group []*Record, after Mark) {
		lt.mu.Lock()
		defer lt.mu.Unlock()
		for _, r := range group {
			lt.have = append(lt.have, seen{r.ID, r.Header.Seq, r.Pos, string(r.Head)})
		}
		lt.mark = after
	}
	return lt
}

// open replays from a mark and returns what was replayed.
func (lt *logTest) open(from Mark) ([]seen, error) {
	lt.Helper()
	var replayed []seen
	log, err := Open(lt.dir, from, lt.opt, func(h *Header, pos Pos, head []byte, after Mark) error {
		replayed = append(replayed, seen{h.ID, h.Seq, pos, string(head)})
		lt.mark = after
		return nil
	})
	lt.log = log
	if err == nil {
		lt.Cleanup(func() { log.Close() })
	}
	return replayed, err
}

func (lt *logTest) mustOpen(from Mark) []seen {
	lt.Helper()
	replayed, err := lt.open(from)
	if err != nil {
		lt.Fatal(err)
	}
	return replayed
}

func (lt *logTest) append(n int, body string) *Record {
	lt.Helper()
	r := &Record{Kind: 1, ID: [16]byte{0: 'r', 14: byte(n >> 8), 15: byte(n)}, Head: fmt.Appendf(nil, "head %d", n), Body: [][]byte{[]byte(body), nil, []byte(".")}}
	if err := lt.log.Append(r); err != nil {
		lt.Fatal(err)
	}
	return r
}

func (lt *logTest) close() {
	lt.Helper()
	if _, err := lt.log.Close(); err != nil {
		lt.Fatal(err)
	}
}

func (lt *logTest) segment(n uint64) string { return segmentName(lt.dir, n) }

// damage changes octets of a segment behind the log's back.
func (lt *logTest) damage(n uint64, f func(b []byte) []byte) {
	lt.Helper()
	b, err := os.ReadFile(lt.segment(n))
	if err != nil {
		lt.Fatal(err)
	}
	if err := os.WriteFile(lt.segment(n), f(b), 0o600); err != nil {
		lt.Fatal(err)
	}
}

func (lt *logTest) body(pos Pos) (string, error) {
	r, err := lt.log.Read(pos, 0)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if err := r.Check(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.BodyLen)))
	return string(b), err
}

func TestAppendReadReplay(t *testing.T) {
	lt := newLogTest(t, Options{SegmentBytes: 4096})
	lt.mustOpen(Mark{})
	bodies := map[int]string{}
	for i := range 60 {
		bodies[i] = strings.Repeat(fmt.Sprint(i%10), i*i)
		lt.append(i, bodies[i])
	}
	check := func(all []seen) {
		t.Helper()
		if len(all) != 60 {
			t.Fatalf("%d records, want 60", len(all))
		}
		for i, s := range all {
			if s.seq != uint64(i+1) || s.head != fmt.Sprintf("head %d", i) {
				t.Fatalf("record %d: %+v", i, s)
			}
			if got, err := lt.body(s.pos); err != nil || got != bodies[i]+"." {
				t.Fatalf("body %d: %.40q %v", i, got, err)
			}
		}
	}
	check(lt.have)
	if n := lt.log.files.count(); n < 5 {
		t.Errorf("%d segments: no roll at 4096 octets", n)
	}
	end := lt.mark
	lt.close()

	if replayed := lt.mustOpen(end); len(replayed) != 0 {
		t.Errorf("%d records replayed behind the end", len(replayed))
	}
	if got := lt.append(60, "x"); got.Header.Seq != 61 || got.Pos != end.Pos {
		t.Errorf("after a clean stop: %d at %s, want 61 at %s", got.Header.Seq, got.Pos, end.Pos)
	}
	lt.close()

	replayed := lt.mustOpen(Mark{})
	if len(replayed) != 61 {
		t.Fatalf("%d records replayed, want 61", len(replayed))
	}
	check(replayed[:60])
}

func TestReaderOutlivesLog(t *testing.T) {
	lt := newLogTest(t, Options{})
	lt.mustOpen(Mark{})
	big := strings.Repeat("0123456789abcdef", 20000)
	r, err := lt.log.Read(lt.append(1, big).Pos, 0)
	if err != nil {
		t.Fatal(err)
	}
	lt.close()
	if err := os.Remove(lt.segment(1)); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.BodyLen)))
	if err != nil || string(got) != big+"." {
		t.Errorf("%d octets, %v", len(got), err)
	}
	r.Close()
}

// TestTailIsMoved: what stands behind the mark after an unclean stop goes into a new segment, and the old one is cut.
func TestTailIsMoved(t *testing.T) {
	lt := newLogTest(t, Options{})
	lt.mustOpen(Mark{})
	lt.append(1, "one")
	mark := lt.mark
	lt.append(2, "two")
	lt.append(3, "three")
	lt.close()
	lt.damage(1, func(b []byte) []byte { return append(b, "garbage of a torn write"...) })

	replayed := lt.mustOpen(mark)
	if len(replayed) != 2 || replayed[0].seq != 2 || replayed[1].seq != 3 {
		t.Fatalf("replayed %+v", replayed)
	}
	// Record 3's header shows that record 2 was durable, so that one stays; only the last group is in doubt.
	if replayed[0].pos.Segment != 1 || replayed[1].pos.Segment != 2 {
		t.Errorf("tail at %s and %s", replayed[0].pos, replayed[1].pos)
	}
	info, err := os.Stat(lt.segment(1))
	if err != nil || info.Size() != replayed[0].pos.Offset+recordHeader+int64(len("head 2two.")) {
		t.Errorf("the old segment was not cut: %v %v", info.Size(), err)
	}
	for i, want := range []string{"two.", "three."} {
		if got, err := lt.body(replayed[i].pos); got != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	lt.append(4, "four")
	lt.close()
	if all := lt.mustOpen(Mark{}); len(all) != 4 {
		t.Errorf("%d records after reopening, want 4: %+v", len(all), all)
	}
}

// TestUnacknowledgedTail: a group that never became durable is dropped with all behind it, whatever of it reached the disk.
func TestUnacknowledgedTail(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b []byte, at int64) []byte
	}{
		{"cut in the header", func(b []byte, at int64) []byte { return b[:at+20] }},
		{"cut in the body", func(b []byte, at int64) []byte { return b[:len(b)-1] }},
		{"header lost", func(b []byte, at int64) []byte { clear(b[at : at+recordHeader]); return b }},
		{"head torn", func(b []byte, at int64) []byte { b[at+recordHeader] ^= 1; return b }},
		{"body torn", func(b []byte, at int64) []byte { b[len(b)-2] ^= 1; return b }},
		{"nothing of it", func(b []byte, at int64) []byte { return b[:at] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			lt := newLogTest(t, Options{})
			lt.mustOpen(Mark{})
			lt.append(1, "one")
			mark := lt.mark
			last := lt.append(2, "two")
			lt.close()
			lt.damage(1, func(b []byte) []byte { return c.damage(b, last.Pos.Offset) })
			if replayed := lt.mustOpen(mark); len(replayed) != 0 {
				t.Fatalf("replayed %+v", replayed)
			}
			lt.append(3, "three")
			lt.close()
			all := lt.mustOpen(Mark{})
			if len(all) != 2 || all[0].head != "head 1" || all[1].head != "head 3" {
				t.Errorf("afterwards: %+v", all)
			}
		})
	}
}

// TestCorruption: what was acknowledged and is damaged or missing is named and never dropped in silence.
func TestCorruption(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(lt *logTest, records []*Record)
		from   func(marks []Mark) Mark
		at     func(records []*Record) Pos
	}{
		{
			name: "header in front of a durable claim",
			damage: func(lt *logTest, r []*Record) {
				lt.damage(1, func(b []byte) []byte { b[r[1].Pos.Offset+9] ^= 1; return b })
			},
			at: func(r []*Record) Pos { return r[1].Pos },
		},
		{
			name: "head in front of a durable claim",
			damage: func(lt *logTest, r []*Record) {
				lt.damage(1, func(b []byte) []byte { b[r[1].Pos.Offset+recordHeader+1] ^= 1; return b })
			},
			at: func(r []*Record) Pos { return r[1].Pos },
		},
		{
			name:   "log shorter than the index",
			damage: func(lt *logTest, r []*Record) { lt.damage(1, func(b []byte) []byte { return b[:r[3].Pos.Offset] }) },
			from:   func(m []Mark) Mark { return m[3] },
			at:     func(r []*Record) Pos { return Pos{1, r[3].Pos.Offset + r[3].Header.Size()} },
		},
		{
			name:   "log gone",
			damage: func(lt *logTest, r []*Record) { os.Remove(lt.segment(1)) },
			from:   func(m []Mark) Mark { return m[0] },
			at:     func(r []*Record) Pos { return r[1].Pos },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			lt := newLogTest(t, Options{})
			lt.mustOpen(Mark{})
			var records []*Record
			var marks []Mark
			for i := range 4 {
				records = append(records, lt.append(i, "body"))
				marks = append(marks, lt.mark)
			}
			lt.close()
			c.damage(lt, records)
			var from Mark
			if c.from != nil {
				from = c.from(marks)
			}
			_, err := lt.open(from)
			var corrupt *Corrupt
			if !errors.As(err, &corrupt) || corrupt.Pos != c.at(records) {
				t.Fatalf("error %v, want corruption at %s", err, c.at(records))
			}
		})
	}
}

// TestSegmentMissing: a segment that is gone is found by its gap, a renamed or foreign one by its header.
func TestSegmentMissing(t *testing.T) {
	fill := func(t *testing.T) *logTest {
		lt := newLogTest(t, Options{SegmentBytes: 1024})
		lt.mustOpen(Mark{})
		for i := range 20 {
			lt.append(i, strings.Repeat("x", 300))
		}
		lt.close()
		return lt
	}
	t.Run("gap", func(t *testing.T) {
		lt := fill(t)
		os.Remove(lt.segment(2))
		_, err := lt.open(Mark{})
		var corrupt *Corrupt
		if !errors.As(err, &corrupt) || corrupt.Segment != 2 {
			t.Errorf("error %v, want corruption in segment 2", err)
		}
	})
	t.Run("exchanged", func(t *testing.T) {
		lt := fill(t)
		os.Rename(lt.segment(2), lt.dir+"/x")
		os.Rename(lt.segment(3), lt.segment(2))
		os.Rename(lt.dir+"/x", lt.segment(3))
		if _, err := lt.open(Mark{}); err == nil {
			t.Error("opened")
		}
	})
	t.Run("another store's", func(t *testing.T) {
		lt := fill(t)
		lt.opt.Store[0]++
		if _, err := lt.open(Mark{}); err == nil {
			t.Error("opened")
		}
	})
	t.Run("another key", func(t *testing.T) {
		lt := fill(t)
		lt.opt.Key[0]++
		if _, err := lt.open(Mark{}); err == nil {
			t.Error("opened")
		}
	})
	t.Run("a stranger's file", func(t *testing.T) {
		lt := fill(t)
		os.WriteFile(filepath.Join(lt.dir, "notes.txt"), nil, 0o600)
		if _, err := lt.open(Mark{}); err == nil || !strings.Contains(err.Error(), "notes.txt") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("half made", func(t *testing.T) {
		lt := fill(t)
		os.WriteFile(lt.segment(99)+temporary, []byte("LBSEG"), 0o600)
		if all := lt.mustOpen(Mark{}); len(all) != 20 {
			t.Errorf("%d records", len(all))
		}
	})
}

// TestForgedRecord: a body made of valid records, of this log and at the same place in another, is never taken for one.
func TestForgedRecord(t *testing.T) {
	lt := newLogTest(t, Options{})
	lt.mustOpen(Mark{})
	lt.append(1, "a message")
	lt.append(2, "another")
	b, err := os.ReadFile(lt.segment(1))
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Repeat(string(b[segmentHeader:]), 3)
	r := lt.append(3, forged)
	lt.close()
	// The header of record 3 is lost, so that a reader looks for what comes next inside its body.
	lt.damage(1, func(b []byte) []byte { clear(b[r.Pos.Offset : r.Pos.Offset+recordHeader]); return b })
	all := lt.mustOpen(Mark{})
	if len(all) != 2 {
		t.Errorf("%d records, want 2: %+v", len(all), all)
	}
}

// TestRandomTails cuts and overwrites the end of a log at random, many times over: everything in front of the last group
// comes back, and nothing that was not appended.
func TestRandomTails(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	lt := newLogTest(t, Options{SegmentBytes: 64 << 10})
	lt.mustOpen(Mark{})
	want := []string{}
	for round := range 60 {
		for i := range 1 + rng.IntN(10) {
			r := lt.append(round*100+i, strings.Repeat("b", rng.IntN(3000)))
			want = append(want, string(r.Head))
		}
		end := lt.mark
		lt.close()
		keep := end.Offset
		switch rng.IntN(3) {
		case 0: // a group that was under way when the process died
			lt.damage(end.Segment, func(b []byte) []byte {
				junk := make([]byte, rng.IntN(5000))
				for i := range junk {
					junk[i] = byte(rng.Uint32())
				}
				return append(b[:keep], junk...)
			})
		case 1: // zeros, as a file system leaves them
			lt.damage(end.Segment, func(b []byte) []byte { return append(b[:keep], make([]byte, 4096)...) })
		}
		var got []string
		for _, s := range lt.mustOpen(Mark{}) {
			got = append(got, s.head)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("round %d: %d records came back, want %d", round, len(got), len(want))
		}
	}
}

func TestUnknownFlagAndVersion(t *testing.T) {
	lt := newLogTest(t, Options{Flags: 0x10})
	lt.mustOpen(Mark{})
	if err := lt.log.Append(&Record{Kind: 1, Flags: 0x10}); err != nil {
		t.Fatal(err)
	}
	lt.close()
	lt.opt.Flags = 0
	if _, err := lt.open(Mark{}); err == nil || !strings.Contains(err.Error(), "0x10") {
		t.Errorf("error %v, want one that names the flag", err)
	}
	lt.damage(1, func(b []byte) []byte { b[8] = 9; return b })
	if _, err := lt.open(Mark{}); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("error %v, want one that names both versions", err)
	}
}

func TestConcurrentAppend(t *testing.T) {
	lt := newLogTest(t, Options{SegmentBytes: 32 << 10, GroupRecords: 8})
	lt.mustOpen(Mark{})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 50 {
				lt.append(w*100+i, strings.Repeat("c", i*7))
			}
		})
	}
	wg.Wait()
	lt.close()
	all := lt.mustOpen(Mark{})
	heads := map[string]bool{}
	for _, s := range all {
		heads[s.head] = true
	}
	if len(all) != 800 || len(heads) != 800 {
		t.Errorf("%d records with %d heads, want 800", len(all), len(heads))
	}
	if err := lt.log.Append(&Record{}); err != nil {
		t.Error(err)
	}
	lt.close()
	if err := lt.log.Append(&Record{}); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed log: %v", err)
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte(recordMagic+"\x01\x01"), uint16(100))
	f.Add(bytes.Repeat([]byte{0xff}, 200), uint16(40))
	f.Fuzz(func(t *testing.T, junk []byte, at uint16) {
		lt := newLogTest(t, Options{})
		lt.mustOpen(Mark{})
		lt.append(1, "one")
		lt.append(2, strings.Repeat("two", 30))
		lt.close()
		lt.damage(1, func(b []byte) []byte {
			i := segmentHeader + int(at)%(len(b)-segmentHeader+1)
			return append(b[:i], append(junk, b[min(len(b), i+len(junk)):]...)...)
		})
		replayed, err := lt.open(Mark{})
		if err != nil {
			return // refused: fine
		}
		for i, s := range replayed {
			if s.head != fmt.Sprintf("head %d", i+1) {
				t.Fatalf("record %d has head %q", i, s.head)
			}
		}
	})
}
