package seglog

import (
	"bytes"
	"os"
	"testing"
)

// B1: what durableClaim costs behind a torn tail when bodies consist of the record magic.
// BenchmarkOpenForged opens a log whose torn tail is a body that a sender filled with the beginnings of records, beside one
// that he filled with anything else.
func BenchmarkOpenForged(b *testing.B) {
	for _, text := range []string{"xxxx", recordMagic} {
		b.Run(text, func(b *testing.B) {
			body := bytes.Repeat([]byte(text), 1<<18)
			sc := &scanner{file: memoryFile(body), end: int64(len(body)), flags: 0}
			var err error
			if sc.seal, err = newSealer(make([]byte, 32)); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := sc.durableClaim(0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// memoryFile is a file that is only read.
type memoryFile []byte

func (m memoryFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m).ReadAt(p, off)
}
func (memoryFile) WriteVec([][]byte, int64) error { return os.ErrPermission }
func (memoryFile) Truncate(int64) error           { return os.ErrPermission }
func (memoryFile) Sync() error                    { return nil }
func (m memoryFile) Size() (int64, error)         { return int64(len(m)), nil }
func (memoryFile) Close() error                   { return nil }

// B2: a sealed segment that ends early, at a record's end: Open refuses it, Repair says nothing and changes nothing.
func TestRepairShort(t *testing.T) {
	lt := newLogTest(t, Options{SegmentBytes: 4096})
	lt.mustOpen(Mark{})
	var second *Record
	for i := range 20 {
		r := &Record{Kind: 1, ID: [16]byte{byte(i + 1)}, Body: [][]byte{bytes.Repeat([]byte("x"), 500)}}
		if err := lt.log.Append(r); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			second = r
		}
	}
	lt.log.Close()
	os.Truncate(segmentName(lt.dir, 1), second.Pos.Offset)
	_, err := lt.open(Mark{})
	t.Log("open:", err)
	n := 0
	if err := Repair(lt.dir, Mark{}, lt.opt, func(c *Corrupt) { n++; t.Log("reported:", c) }); err != nil {
		t.Fatal(err)
	}
	if _, err := lt.open(Mark{}); err != nil || n == 0 {
		t.Errorf("after the repair, which reported %d losses: %v", n, err)
	}
}

// B3: the last segment was born with records; it ends early, at a record's end, and nobody notices.
func TestBornShort(t *testing.T) {
	lt := newLogTest(t, Options{})
	lt.mustOpen(Mark{})
	// five deliveries at once: one group. The first record keeps the committer busy meanwhile.
	var five []*Record
	for i := range 5 {
		five = append(five, &Record{Kind: 1, ID: [16]byte{byte(i + 1)}, Body: [][]byte{bytes.Repeat([]byte("x"), 500)}})
	}
	if err := lt.log.AppendAll(five); err != nil {
		t.Fatal(err)
	}
	lt.log.Close()
	if got := lt.mustOpen(Mark{}); len(got) != 5 { // unclean: the tail moves to segment 2
		t.Fatal(len(got))
	}
	lt.log.Close()
	info, _ := os.Stat(segmentName(lt.dir, 2))
	t.Log("segment 2 has", info.Size(), "octets")
	os.Truncate(segmentName(lt.dir, 2), segmentHeader+580)
	got, err := lt.open(Mark{})
	t.Log(len(got), err)
	if err == nil && len(got) < 5 {
		t.Errorf("opened without a word with %d of 5 durable records", len(got))
	}
}

// B4: a rename that took place, but said that it failed; a small group still fits into the old segment.
func TestSealTooEarly(t *testing.T) {
	fs := &lateRename{}
	lt := newLogTest(t, Options{SegmentBytes: 4096, FS: fs})
	lt.mustOpen(Mark{})
	for range 3 {
		lt.log.Append(&Record{Kind: 1, ID: [16]byte{1}, Body: [][]byte{bytes.Repeat([]byte("x"), 1000)}})
	}
	fs.on = true
	t.Log(lt.log.Append(&Record{Kind: 1, ID: [16]byte{2}, Body: [][]byte{bytes.Repeat([]byte("x"), 1000)}}))
	fs.on = false
	if err := lt.log.Append(&Record{Kind: 1, ID: [16]byte{3}, Body: [][]byte{[]byte("acknowledged")}}); err != nil {
		return // refused: nothing was acknowledged behind what may be a seal
	}
	mark := lt.mark
	lt.log.Close()
	for _, from := range []Mark{mark, {}} {
		got, err := lt.open(from)
		if err != nil {
			t.Errorf("%v", err)
		} else if from.Segment == 0 && len(got) != 4 {
			t.Errorf("%d records of 4 acknowledged", len(got))
		}
	}
}
