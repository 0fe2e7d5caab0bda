package boltstore

import "io"

// A backup is read beside its checking: three buffers of inputAheadBytes, of which one is checked, one waits and one is read
// into.
const inputAheadBytes = 1 << 20

// inputAhead is an io.Reader for one goroutine that reads in the background.
type inputAhead struct {
	full  chan input
	empty chan []byte
	stop  chan struct{}
	done  chan struct{}

	now    []byte // what is left of the buffer
	buffer []byte
	err    error // comes behind now
}

// input is what one read brought.
type input struct {
	b   []byte
	err error
}

// newInputAhead begins to read; close must follow.
func newInputAhead(r io.Reader) *inputAhead {
	a := &inputAhead{full: make(chan input, 1), empty: make(chan []byte, 3), stop: make(chan struct{}), done: make(chan struct{})}
	for range cap(a.empty) {
		a.empty <- make([]byte, inputAheadBytes)
	}
	go a.run(r)
	return a
}

func (a *inputAhead) run(r io.Reader) {
	defer close(a.done)
	for {
		var b []byte
		select {
		case b = <-a.empty:
		case <-a.stop:
			return
		}
		n, err := io.ReadAtLeast(r, b[:inputAheadBytes], 1) // and not all of it: a pipe gives what there is
		select {
		case a.full <- input{b[:n], err}:
		case <-a.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader. The error of the reader comes behind all that it gave.
func (a *inputAhead) Read(p []byte) (int, error) {
	if len(a.now) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.buffer != nil {
			a.empty <- a.buffer
		}
		in := <-a.full
		a.now, a.buffer, a.err = in.b, in.b, in.err
		if len(a.now) == 0 {
			return 0, a.err
		}
	}
	n := copy(p, a.now)
	a.now = a.now[n:]
	return n, nil
}

// take returns the next n octets where they lie in the buffer whole, without a copy: they are valid until the next call.
func (a *inputAhead) take(n int64) (b []byte, ok bool) {
	if n > int64(len(a.now)) {
		return nil, false
	}
	b, a.now = a.now[:n], a.now[n:]
	return b, true
}

// close ends the reading, and returns when nobody uses the reader any more.
func (a *inputAhead) close() {
	close(a.stop)
	<-a.done
}
