package seglog

import (
	"testing"
	"time"
)

// TestCountsTakeNoLock: the log's counters are told while its files are opened, made or dropped, and while it is closed.
func TestCountsTakeNoLock(t *testing.T) {
	lt := newLogTest(t, Options{SegmentBytes: 4096})
	if _, err := lt.open(Mark{}); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		if err := lt.log.Append(&Record{Kind: 1, Body: [][]byte{make([]byte, 1024)}}); err != nil {
			t.Fatal(err)
		}
	}
	counts := make(chan Counts, 1)
	lt.log.mu.Lock()
	lt.log.files.mu.Lock()
	go func() { counts <- lt.log.Counts() }()
	select {
	case c := <-counts:
		if c.Records != 9 || c.Segments != len(lt.log.files.have) || c.Segments < 3 {
			t.Errorf("%+v of %d files", c, len(lt.log.files.have))
		}
	case <-time.After(time.Minute):
		t.Error("the counters wait for a lock")
	}
	lt.log.files.mu.Unlock()
	lt.log.mu.Unlock()
	if err := lt.log.Drop(1); err != nil {
		t.Fatal(err)
	}
	if c := lt.log.Counts(); c.Segments != len(lt.log.files.have) {
		t.Errorf("%d files are counted behind a drop, want %d", c.Segments, len(lt.log.files.have))
	}
}
