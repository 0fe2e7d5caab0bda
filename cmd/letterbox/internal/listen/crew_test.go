package listen

import (
	"bytes"
	"net"
	"runtime"
	"testing"
	"time"
)

// self names the goroutine that runs.
func self() string {
	var b [64]byte
	return string(bytes.Fields(b[:runtime.Stack(b[:], false)])[1])
}

// TestCrew: who has served a connection serves the next, a connection never waits for one that is served, and of those that are
// through only so many rest, until the listener is closed.
func TestCrew(t *testing.T) {
	const visits = maxResting + 8
	served, leave := make(chan string, visits), make(chan struct{})
	c := newCrew(func(net.Conn, *place) {
		served <- self()
		<-leave
	})
	resting := func(want int32) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); c.resting.Load() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d goroutines rest, want %d", c.resting.Load(), want)
			}
		}
	}
	seen := map[string]bool{}
	for range visits {
		c.serve(visit{})
		seen[<-served] = true
	}
	if len(seen) != visits {
		t.Errorf("%d connections at once are served by %d goroutines", visits, len(seen))
	}
	close(leave)
	again := false
	for range 10 { // one that is counted may not wait yet
		resting(maxResting)
		c.serve(visit{})
		again = again || seen[<-served]
	}
	if !again {
		t.Error("no goroutine that rests was handed the next connection")
	}
	resting(maxResting)
	c.close()
	resting(0)
	c.serve(visit{})
	<-served // one that was accepted at the end is served, too
	resting(0)
}
