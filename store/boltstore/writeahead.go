package boltstore

import (
	"errors"
	"io"
)

// Writes of a backup are made beside its reading: two buffers of writeAheadBytes, of which one is written while the other is
// filled.
const writeAheadBytes = 512 << 10

// writeAhead is an io.Writer for one goroutine that writes in the background, in order.
type writeAhead struct {
	full  chan []byte
	empty chan []byte
	done  chan struct{}
	err   error // of the writer; read once done is closed

	filling []byte
	closed  bool
}

func newWriteAhead(w io.Writer) *writeAhead {
	a := &writeAhead{full: make(chan []byte), empty: make(chan []byte, 2), done: make(chan struct{})}
	a.filling = make([]byte, 0, writeAheadBytes)
	a.empty <- make([]byte, 0, writeAheadBytes)
	go a.run(w)
	return a
}

func (a *writeAhead) run(w io.Writer) {
	defer close(a.done)
	for b := range a.full {
		if _, a.err = w.Write(b); a.err != nil {
			return
		}
		a.empty <- b[:0]
	}
}

// Write may return an error of a write before.
func (a *writeAhead) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), cap(a.filling)-len(a.filling))
		a.filling = append(a.filling, p[:n]...)
		p = p[n:]
		written += n
		if len(a.filling) == cap(a.filling) {
			if err := a.hand(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// hand gives the buffer to the writer and takes the other one.
func (a *writeAhead) hand() error {
	select {
	case a.full <- a.filling:
	case <-a.done:
		return a.err
	}
	select {
	case a.filling = <-a.empty:
		return nil
	case <-a.done:
		return a.err
	}
}

// errAheadClosed is what a second close finds.
var errAheadClosed = errors.New("closed before")

// close returns nil when all was written.
func (a *writeAhead) close() error {
	if a.closed {
		return errAheadClosed
	}
	a.closed = true
	if len(a.filling) > 0 {
		select {
		case a.full <- a.filling:
		case <-a.done:
		}
	}
	close(a.full)
	<-a.done
	return a.err
}
