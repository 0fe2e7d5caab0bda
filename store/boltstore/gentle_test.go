package boltstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.etcd.io/bbolt"
)

// Work in the background rests once it went on for a while and mail came in meanwhile, and else goes on.
func TestGentle(t *testing.T) {
	ts := newTestStore(t, quiet)
	over, cancel := context.WithCancel(t.Context())
	cancel() // so that a rest shows by its error, whatever it takes
	g := gentle{s: ts.Store}
	if err := g.rest(over); err != nil {
		t.Errorf("at the beginning: %v", err)
	}
	g.began = time.Now().Add(-workFor)
	if err := g.rest(over); err != nil {
		t.Errorf("in a quiet store: %v", err)
	}
	ts.send([]byte("hello\r\n"))
	g.began = time.Now().Add(time.Hour)
	if err := g.rest(over); err != nil {
		t.Errorf("after little work: %v", err)
	}
	g.began = time.Now().Add(-workFor)
	if err := g.rest(over); !errors.Is(err, context.Canceled) {
		t.Errorf("beside mail: %v", err)
	}
	began := time.Now()
	g.began, g.records = began.Add(-workFor), 0
	if err := g.rest(t.Context()); err != nil || time.Since(began) < workFor {
		t.Errorf("rested %s, %v", time.Since(began), err)
	}
}

// What goes through a writeAhead comes out whole and in order, whatever the sizes; the first error of the writer is returned.
func TestWriteAhead(t *testing.T) {
	var out, want bytes.Buffer
	a := newWriteAhead(&out)
	for i := range 300 {
		piece := pattern(i * 37)
		want.Write(piece)
		if n, err := a.Write(piece); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	large := pattern(3*writeAheadBytes + 5)
	want.Write(large)
	if n, err := a.Write(large); n != len(large) || err != nil {
		t.Fatal(n, err)
	}
	if err := a.close(); err != nil || !bytes.Equal(out.Bytes(), want.Bytes()) {
		t.Errorf("%d octets came out of %d, %v", out.Len(), want.Len(), err)
	}
	if err := a.close(); err == nil {
		t.Error("a second close found nothing")
	}

	r, w := io.Pipe()
	broken := errors.New("broken")
	r.CloseWithError(broken)
	a = newWriteAhead(w)
	var err error
	for i := 0; err == nil && i < 10; i++ {
		_, err = a.Write(make([]byte, writeAheadBytes))
	}
	if !errors.Is(err, broken) {
		t.Errorf("writing to what is broken: %v", err)
	}
	if err := a.close(); !errors.Is(err, broken) {
		t.Errorf("closing it: %v", err)
	}
}

// What goes through an inputAhead comes out whole and in order, and the error of the reader behind all of it.
func TestInputAhead(t *testing.T) {
	broken := errors.New("broken")
	for _, size := range []int{0, 1, inputAheadBytes - 1, inputAheadBytes, 5*inputAheadBytes + 3} {
		want := pattern(size)
		for _, r := range []io.Reader{bytes.NewReader(want), iotest.HalfReader(bytes.NewReader(want)), iotest.DataErrReader(bytes.NewReader(want))} {
			a := newInputAhead(io.MultiReader(r, iotest.ErrReader(broken)))
			got, err := io.ReadAll(a)
			a.close()
			if !errors.Is(err, broken) || !bytes.Equal(got, want) {
				t.Errorf("%d octets came out of %d, %v", len(got), len(want), err)
			}
		}
	}
	a := newInputAhead(bytes.NewReader(pattern(10 * inputAheadBytes)))
	if n, err := a.Read(make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	a.close() // with nobody who reads on
}

// An entry of a maildrop that its message does not know of is found, though the message itself is in order.
func TestVerifyFindsAStrangersEntry(t *testing.T) {
	ts, _ := filled(t)
	if found := ts.verify(); len(found) != 0 {
		t.Fatal(found)
	}
	err := ts.index.db.Update(func(tx *bbolt.Tx) error {
		k, v := tx.Bucket(bucketEntries).Cursor().First()
		var e entry
		if !e.decode(k, v) {
			t.Fatal("no entry")
		}
		key := entryKey(99, e.seq)
		return errors.Join(tx.Bucket(bucketEntries).Put(key, e.encode(key)),
			tx.Bucket(bucketDrops).Put(key[:8], counts{messages: 1, octets: e.octets}.encode()))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range ts.verify() {
		if strings.Contains(f.Text, "maildrop 99 has an entry of message") {
			return
		}
	}
	t.Error("not found")
}

// A body that is longer than what is read at once is read to its end, and damage in it is found.
func TestVerifyOfALongBody(t *testing.T) {
	ts := newTestStore(t, Options{})
	for range 3 {
		ts.send(pattern(700 << 10))
		ts.send(pattern(10))
	}
	if found := ts.verify(); len(found) != 0 {
		t.Fatal(found)
	}
	flip(t, filepath.Join(ts.dir, "log", "0000000000000001.seg"), 1_000_000)
	if found := ts.verify(); len(found) != 1 || !strings.Contains(found[0].Text, "the checksum of its body does not match") {
		t.Errorf("found %v", found)
	}
}
