package seglog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// aheadLog is a log with five records and one that has read them ahead, the last of them not whole.
func aheadLog(t *testing.T) (*logTest, []*Record, *Ahead) {
	t.Helper()
	lt := newLogTest(t, Options{})
	lt.mustOpen(Mark{})
	var records []*Record
	for i := range 5 {
		records = append(records, lt.append(i, strings.Repeat("0123456789abcde\n", 100)))
	}
	a := lt.log.Ahead()
	prepare(a, records, 200)
	return lt, records, a
}

// prepare reads records ahead, and so many octets of the last one.
func prepare(a *Ahead, records []*Record, last int64) {
	var at []Pos
	for _, r := range records {
		at = append(at, r.Pos)
	}
	a.Prepare(at, at[len(at)-1].Offset-at[0].Offset+last)
}

// taken is the body of the record at pos as it was read ahead.
func taken(t *testing.T, a *Ahead, pos Pos) (body string, ok bool) {
	t.Helper()
	r := a.Take(pos)
	if r == nil {
		return "", false
	}
	defer r.Close()
	b, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.BodyLen)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b), true
}

// TestAhead: what was read ahead is served once, without the file, octet for octet as it is read from there; nothing else that lies in
// the piece is.
func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no second goes by
		lt, records, a := aheadLog(t)
		open := a.Take(records[1].Pos)
		if open == nil || a.Low(records[0].Pos) || a.Low(records[3].Pos) || !a.Low(records[1].Pos) || !a.Low(records[4].Pos) {
			t.Fatal("another record is there than was read and not taken")
		}
		lt.log.files.forget(1)
		if err := os.Remove(lt.segment(1)); err != nil {
			t.Fatal(err)
		}
		if _, err := lt.log.Read(records[0].Pos, 0); err == nil {
			t.Fatal("the segment is still there")
		}
		for _, r := range append(records[2:4:4], records[0]) {
			if got, ok := taken(t, a, r.Pos); !ok || got != string(bytes.Join(r.Body, nil)) {
				t.Errorf("%s: %q, %v", r.Pos, got, ok)
			}
			if _, ok := taken(t, a, r.Pos); ok {
				t.Errorf("%s was given out twice", r.Pos)
			}
		}
		inside := records[0].Pos
		inside.Offset += 100
		for _, pos := range []Pos{inside, records[4].Pos, {Segment: 2, Offset: records[0].Pos.Offset}} {
			if _, ok := taken(t, a, pos); ok {
				t.Errorf("%s was given out", pos)
			}
		}
		a.Release()
		if err := open.Check(); err != nil {
			t.Errorf("a reader that was open when the rest was released: %v", err)
		}
		if n := len(lt.log.ahead); n != 1 {
			t.Errorf("%d buffers are held, one is read from", n)
		}
		open.Close()
		open.Close()
		if n := len(lt.log.ahead); n != 0 {
			t.Errorf("%d buffers are held", n)
		}
	})
}

// TestAheadIsChecked: damage of a record's lengths, head or body leaves it to who reads the file and says what is wrong.
func TestAheadIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no second goes by
		lt, records, a := aheadLog(t)
		lt.damage(1, func(b []byte) []byte {
			b[records[1].Pos.Offset+48] ^= 1                          // the length of its head
			b[records[2].Pos.Offset+recordHeader] ^= 1                // its head
			b[records[3].Pos.Offset+records[3].Header.Size()-20] ^= 1 // its body
			return b
		})
		prepare(a, records, 0)
		for _, r := range records[1:4] {
			if _, ok := taken(t, a, r.Pos); ok {
				t.Errorf("%s is damaged and was given out", r.Pos)
			}
			var corrupt *Corrupt
			if _, err := lt.body(r.Pos); !errors.As(err, &corrupt) {
				t.Errorf("%s: %v", r.Pos, err)
			}
		}
		if _, ok := taken(t, a, records[0].Pos); !ok {
			t.Error("what is whole is not there")
		}
	})
}

// TestAheadOfALostSegment: what can't be read ahead is no failure yet.
func TestAheadOfALostSegment(t *testing.T) {
	for name, lose := range map[string]func(*logTest){
		"dropped": func(lt *logTest) { lt.log.files.forget(1) },
		"closed":  (*logTest).close,
	} {
		lt, records, a := aheadLog(t)
		lose(lt)
		prepare(a, records, 0)
		if !a.Low(records[0].Pos) || len(lt.log.ahead) != 0 {
			t.Errorf("%s: something was read, or one of %d buffers held", name, len(lt.log.ahead))
		}
	}
}

// TestAheadIsBounded: no more buffers are held than aheads, and who sleeps holds none.
func TestAheadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no second goes by
		lt, records, a := aheadLog(t)
		all := []*Ahead{a}
		for range aheads {
			more := lt.log.Ahead()
			prepare(more, records, 0)
			all = append(all, more)
		}
		if !all[aheads].Low(records[0].Pos) || all[aheads-1].Low(records[0].Pos) {
			t.Errorf("another number of buffers than %d was given out", aheads)
		}
		for _, a := range all[1:] {
			a.Release()
		}
		time.Sleep(aheadTime)
		if synctest.Wait(); len(lt.log.ahead) > 0 {
			t.Error("a buffer is held though nobody reads")
		}
	})
}
