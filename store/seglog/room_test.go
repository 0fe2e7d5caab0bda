package seglog

import (
	"errors"
	"os"
	"strings"
	"testing"

	"example.org/letterbox/store/vfs/vfstest"
)

// size is the length of a segment's file.
func (lt *logTest) size(n uint64) int64 {
	lt.Helper()
	info, err := os.Stat(lt.segment(n))
	if err != nil {
		lt.Fatal(err)
	}
	return info.Size()
}

// copyOf is the log as a kill would leave it now: the folder's files, whatever the process holds.
func (lt *logTest) copyOf() *logTest {
	lt.Helper()
	killed := newLogTest(lt.T, lt.opt)
	if err := os.CopyFS(killed.dir, os.DirFS(lt.dir)); err != nil {
		lt.Fatal(err)
	}
	return killed
}

// TestRoom holds room to where it may stand: behind the last record of the segment that takes records, while it does.
func TestRoom(t *testing.T) {
	lt := newLogTest(t, Options{SegmentBytes: 2 * roomBytes})
	lt.mustOpen(Mark{})
	r := lt.append(1, "first")
	end := r.Pos.Offset + r.Header.Size()
	if got, want := lt.size(1), end+roomBytes; got != want {
		t.Fatalf("the segment has %d octets, want %d with its room", got, want)
	}
	lt.append(2, "second")
	if got, want := lt.size(1), end+roomBytes; got != want {
		t.Fatalf("a record within the room: the segment has %d octets, want still %d", got, want)
	}
	if got, want := lt.log.Counts().Bytes, lt.mark.Offset; got != want {
		t.Fatalf("the log counts %d octets, want %d: room is none", got, want)
	}

	killed := lt.copyOf()
	if all := killed.mustOpen(Mark{}); len(all) != 2 {
		t.Fatalf("%d records after a kill, want 2", len(all))
	}
	if got, want := killed.log.Counts().Bytes, killed.size(1)+killed.size(2); got != want {
		t.Fatalf("after a kill the log counts %d octets, its files have %d", got, want)
	}

	applied := lt.mark
	killed = lt.copyOf()
	if all := killed.mustOpen(applied); len(all) != 0 {
		t.Fatalf("%d records behind the last one", len(all))
	}

	for i := range 70 { // a segment has room for some sixty of them, and no octet more than it may have
		lt.append(3+i, strings.Repeat("x", maxRoomed/2))
		if got := lt.size(lt.mark.Segment); got > lt.opt.SegmentBytes {
			t.Fatalf("segment %d has %d octets with its room, over %d", lt.mark.Segment, got, lt.opt.SegmentBytes)
		}
	}
	sealed, err := lt.log.Sealed()
	if err != nil || len(sealed) == 0 {
		t.Fatalf("sealed segments: %v, %v", sealed, err)
	}
	last := Pos{}
	for _, s := range lt.have {
		if s.pos.Segment == 1 {
			last = s.pos
		}
	}
	if got, err := lt.log.Read(last, 0); err != nil || sealed[0].Size != last.Offset+got.Size() {
		t.Fatalf("segment 1 is sealed at %d, want behind its last record: %v", sealed[0].Size, err)
	} else {
		got.Close()
	}

	lt.close()
	if got := lt.size(lt.mark.Segment); got != lt.mark.Offset {
		t.Fatalf("after a stop the segment has %d octets, want %d", got, lt.mark.Offset)
	}
	if all := lt.mustOpen(lt.mark); len(all) != 0 {
		t.Fatalf("a clean stop replays %d records", len(all))
	}
}

// TestLargeGroupMakesNoRoom keeps what is written twice to little.
func TestLargeGroupMakesNoRoom(t *testing.T) {
	lt := newLogTest(t, Options{})
	lt.mustOpen(Mark{})
	lt.append(1, strings.Repeat("x", maxRoomed))
	if got := lt.size(1); got != lt.mark.Offset {
		t.Errorf("the segment has %d octets, want %d", got, lt.mark.Offset)
	}
}

// TestNoSpaceForRoom takes a record for which there is space, though there is none for room behind it.
func TestNoSpaceForRoom(t *testing.T) {
	disk := vfstest.NewFaults()
	lt := newLogTest(t, Options{FS: disk})
	lt.mustOpen(Mark{})
	disk.Fill(roomBytes / 2)
	lt.append(1, "first")
	lt.append(2, "second")
	lt.close()
	if all := lt.mustOpen(Mark{}); len(all) != 2 {
		t.Errorf("%d records, want 2", len(all))
	}
}

// TestFailedWriteLosesItsRoom takes room away with the group whose write failed, and the next group makes its own.
func TestFailedWriteLosesItsRoom(t *testing.T) {
	disk := vfstest.NewFaults()
	lt := newLogTest(t, Options{FS: disk})
	lt.mustOpen(Mark{})
	lt.append(1, "first")
	before := lt.mark.Offset
	broken := errors.New("input/output error")
	disk.Fail(vfstest.Once(vfstest.Write, 0, broken))
	if err := lt.log.Append(&Record{Kind: 1, Head: []byte("lost")}); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if got := lt.size(1); got != before {
		t.Fatalf("the segment has %d octets, want %d", got, before)
	}
	lt.append(2, "second")
	if got, want := lt.size(1), lt.mark.Offset+roomBytes; got != want {
		t.Errorf("the segment has %d octets, want %d with its room", got, want)
	}
	if all := lt.copyOf().mustOpen(Mark{}); len(all) != 2 {
		t.Errorf("%d records, want 2", len(all))
	}
}

// TestZerosBeforeTheMark finds that a log lost what the index holds, also where room hides that its file is shorter.
func TestZerosBeforeTheMark(t *testing.T) {
	lt := newLogTest(t, Options{})
	lt.mustOpen(Mark{})
	lt.append(1, "first")
	kept := lt.mark.Offset
	lt.append(2, strings.Repeat("second", 100))
	killed := lt.copyOf()
	killed.damage(1, func(b []byte) []byte {
		clear(b[kept:])
		return b
	})
	var corrupt *Corrupt
	if _, err := killed.open(lt.mark); !errors.As(err, &corrupt) {
		t.Fatalf("got %v, want a corrupt log", err)
	}
}

// TestRecordOfZeros opens a log whose last record, which the index holds, ends in zeros, and none whose last record was lost
// in part.
func TestRecordOfZeros(t *testing.T) {
	lt := newLogTest(t, Options{})
	lt.mustOpen(Mark{})
	lt.append(1, "first")
	if err := lt.log.Append(&Record{Kind: 1, Head: []byte("second"), Body: [][]byte{[]byte("body"), make([]byte, 4096)}}); err != nil {
		t.Fatal(err)
	}
	if all := lt.copyOf().mustOpen(lt.mark); len(all) != 0 {
		t.Errorf("%d records behind the last one", len(all))
	}
	killed := lt.copyOf()
	killed.damage(1, func(b []byte) []byte {
		clear(b[lt.mark.Offset-4100 : lt.mark.Offset])
		return b
	})
	var corrupt *Corrupt
	if _, err := killed.open(lt.mark); !errors.As(err, &corrupt) {
		t.Errorf("got %v, want a corrupt log", err)
	}
}

// TestRoomLeftBehind: zeros that a write without space for all of its room left behind a group are cut off when the segment is
// sealed, also where the disk has space again when the next group comes and that one makes no room.
func TestRoomLeftBehind(t *testing.T) {
	disk := vfstest.NewFaults()
	lt := newLogTest(t, Options{FS: disk, SegmentBytes: 2 * roomBytes})
	lt.mustOpen(Mark{})
	disk.Fill(roomBytes / 2)
	lt.append(1, "first")
	disk.Fill(-1)
	lt.append(2, strings.Repeat("x", maxRoomed))   // ends before the zeros do
	lt.append(3, strings.Repeat("y", 2*roomBytes)) // the next segment
	sealed, err := lt.log.Sealed()
	if err != nil || len(sealed) != 1 {
		t.Fatal(sealed, err)
	}
	n := 0
	err = lt.log.Walk(1, 0, func(*Header, Pos, []byte) error { n++; return nil })
	if err != nil || n != 2 {
		t.Errorf("a sealed segment of %d octets: %d records, %v", sealed[0].Size, n, err)
	}
}
