package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"

	"example.org/letterbox/store/vfs/vfstest"
)

// written writes a log of n records anew and returns what Append said of them.
func (lt *logTest) written(n int, size func(i int) int) []seen {
	lt.Helper()
	w, err := Create(lt.dir, lt.opt)
	if err != nil {
		lt.Fatal(err)
	}
	var all []seen
	var r Record
	body := make([]byte, 4<<20)
	for i := range n {
		r = Record{Kind: 1, ID: [16]byte{0: 'w', 14: byte(i >> 8), 15: byte(i)}, Head: fmt.Appendf(nil, "head %d", i), Body: [][]byte{nil, body[:size(i)]}}
		after, err := w.Append(&r)
		if err != nil {
			lt.Fatal(err)
		}
		if after.Offset != r.Pos.Offset+r.Header.Size() {
			lt.Errorf("record %d of %d octets at %v ends at %v", i, r.Header.Size(), r.Pos, after)
		}
		all = append(all, seen{r.ID, r.Header.Seq, r.Pos, string(r.Head)})
	}
	if lt.mark, err = w.Finish(); err != nil {
		lt.Fatal(err)
	}
	return all
}

// TestWriter: what a Writer wrote is a log as any other, from its end and from its beginning, and takes records; some of its records are
// larger than a buffer, and than a segment.
func TestWriter(t *testing.T) {
	for _, n := range []int{0, 1, 500} {
		lt := newLogTest(t, Options{SegmentBytes: 1 << 20})
		lt.opt.Totals = func() Totals { return Totals{7} }
		entered := 0
		lt.opt.Enter = func(got Totals, _ [16]byte) {
			if entered++; got != (Totals{7}) {
				t.Errorf("totals %v", got)
			}
		}
		want := lt.written(n, func(i int) int { return i % 100 * i % 70 * 400 })
		end := lt.mark
		if got := lt.mustOpen(end); len(got) != 0 || lt.log.end != end {
			t.Errorf("%d records: %d replayed from the end, which is %v and not %v", n, len(got), lt.log.end, end)
		}
		segments := lt.log.Counts().Segments
		lt.close()
		if got := lt.mustOpen(Mark{}); !reflect.DeepEqual(got, want) {
			t.Errorf("%d records: replayed %d", n, len(got))
		}
		if entered < segments {
			t.Errorf("%d of %d segments entered", entered, segments)
		}
		lt.append(1, "later")
		for _, at := range want {
			r, err := lt.log.Read(at.pos, 0)
			if err == nil {
				err = errors.Join(r.Check(), r.Close())
			}
			if err != nil {
				t.Error(err)
			}
		}
		lt.close()
		if got := lt.mustOpen(Mark{}); len(got) != n+1 || got[n].seq != uint64(n+1) {
			t.Errorf("%d records and one: replayed %d", n, len(got))
		}
	}
}

// TestWriterDamage: damage anywhere in a log that a Writer wrote is found as in any other, also in the last segment, all of which was
// durable when it got its name.
func TestWriterDamage(t *testing.T) {
	for _, number := range []uint64{1, 3} {
		for _, cut := range []bool{false, true} {
			lt := newLogTest(t, Options{SegmentBytes: 8 << 10})
			lt.written(25, func(int) int { return 900 })
			lt.damage(number, func(b []byte) []byte {
				if cut {
					return b[:len(b)-10]
				}
				b[segmentHeader+recordHeader+1] ^= 1
				return b
			})
			var corrupt *Corrupt
			if _, err := lt.open(Mark{}); !errors.As(err, &corrupt) {
				t.Errorf("segment %d, cut off %t: opened with %v", number, cut, err)
			}
		}
	}
}

// TestWriterFails: a call of the file system that fails makes Append or Finish fail, whichever it is, and none of them waits for ever.
func TestWriterFails(t *testing.T) {
	broken := errors.New("broken")
	for _, call := range []vfstest.Call{vfstest.Open, vfstest.Write, vfstest.Sync, vfstest.Rename, vfstest.SyncDir} {
		for n := range 4 {
			faults := vfstest.NewFaults()
			lt := newLogTest(t, Options{SegmentBytes: 1 << 20, FS: faults})
			faults.Fail(vfstest.Once(call, n, broken))
			w, err := Create(lt.dir, lt.opt)
			if err != nil {
				t.Fatal(err)
			}
			r := Record{Kind: 1, Body: [][]byte{make([]byte, 300<<10)}}
			for i := 0; i < 20 && err == nil; i++ {
				_, err = w.Append(&r)
			}
			if err != nil {
				w.Abort()
			} else if _, err = w.Finish(); call == vfstest.SyncDir && n > 0 {
				continue // there is one alone
			}
			if !errors.Is(err, broken) {
				t.Errorf("%s %d: %v", call, n, err)
			}
		}
	}
}

// TestWriterHead: a head that replay could not read is refused.
func TestWriterHead(t *testing.T) {
	lt := newLogTest(t, Options{})
	w, err := Create(lt.dir, lt.opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(&Record{Head: bytes.Repeat([]byte{1}, maxHead+1)}); err == nil {
		t.Error("a head of over 16 MiB was taken")
	}
	w.Abort()
	if entries, err := os.ReadDir(lt.dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
