package listen

import (
	"net"
	"sync/atomic"
	"time"
)

const (
	// maxResting is how many goroutines of one listener at most wait for a next connection, restTime how long each of them does.
	maxResting = 16
	restTime   = time.Second
)

// visit is a connection that was admitted.
type visit struct {
	conn  net.Conn
	place *place
}

// crew serves connections, each in a goroutine of its own as long as it is there. Where they come quickly one after the other a
// goroutine that is through takes the next: its stack has grown to what a session needs, and to grow it anew takes as long as all
// that a repeated login makes the store do.
type crew struct {
	handle  func(net.Conn, *place)
	next    chan visit
	shut    chan struct{} // closed when no connections come any more
	resting atomic.Int32
}

func newCrew(handle func(net.Conn, *place)) *crew {
	return &crew{handle: handle, next: make(chan visit), shut: make(chan struct{})}
}

// serve has a connection served, without waiting for anything.
func (c *crew) serve(v visit) {
	select {
	case c.next <- v:
	default:
		go c.work(v)
	}
}

// work serves one connection, and those that it is handed soon after.
func (c *crew) work(v visit) {
	for ok := true; ok; v, ok = c.rest() {
		c.handle(v.conn, v.place)
	}
}

// rest waits for a connection; not for long, nor where enough others wait already.
func (c *crew) rest() (v visit, ok bool) {
	defer c.resting.Add(-1)
	if c.resting.Add(1) > maxResting {
		return v, false
	}
	end := time.NewTimer(restTime)
	defer end.Stop()
	select {
	case v = <-c.next:
		return v, true
	case <-end.C:
	case <-c.shut:
	}
	return v, false
}

// close sends those home that rest.
func (c *crew) close() { close(c.shut) }
