package storesock

import (
	"context"
	"errors"
	"io"
)

// minRoom is how small a rest of the buffer is not worth reading into.
const minRoom = 4 << 10

// outgoing is what one retrieve frame asked for on its way to the client.
type outgoing struct {
	*pickupSession
	credit int64  // octets that may still be sent
	buf    []byte // its length is what is waiting to be written
	over   bool   // cancelled
}

// retrieve sends messages one after the other. Nothing is sent that the client has not given credit for, so that a slow one
// costs a buffer and nothing blocks for it.
func (p *pickupSession) retrieve(ctx context.Context, r retrieval) error {
	buffer := p.buffers.Get().(*[streamBuffer]byte)
	defer p.buffers.Put(buffer)
	out := &outgoing{pickupSession: p, credit: r.credit, buf: buffer[:0]}
	p.box.Active()
	for i := r.first; i < r.first+r.count && !out.over; i++ {
		if err := out.message(ctx, i); err != nil {
			return err
		}
	}
	return out.flush()
}

// message sends the message at index i, or the code of what is wrong with it.
func (o *outgoing) message(ctx context.Context, i int) error {
	r, err := o.box.Retrieve(ctx, i)
	if err != nil {
		return o.failure(err)
	}
	defer r.Close()
	for left := o.box.Messages()[i].Octets; ; {
		room, err := o.room(left)
		if err != nil || o.over {
			return err
		}
		n, err := fill(r, room)
		left -= int64(n)
		switch {
		case left < 0 || err == io.EOF && left > 0:
			return o.failure(errWrongSize)
		case err == io.EOF:
			return o.frame(lastFrame, n)
		case err != nil:
			return o.failure(err)
		}
		if err := o.frame(dataFrame, n); err != nil {
			return err
		}
	}
}

var errWrongSize = errors.New("a message has another size than the snapshot says")

// fill reads until b is full or r ends.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = r.Read(b[n:])
		n += k
	}
	return n, err
}

// room returns what the next octets of a message may be read into, where so many are left: what there is credit for, and
// behind the last of them one more, which shows that nothing follows.
func (o *outgoing) room(left int64) ([]byte, error) {
	if err := o.listen(left > 0); err != nil || o.over {
		return nil, err
	}
	if cap(o.buf)-len(o.buf) < minRoom {
		if err := o.flush(); err != nil {
			return nil, err
		}
	}
	space := o.buf[len(o.buf)+headLength : cap(o.buf)]
	if left > o.credit {
		return space[:min(int64(len(space)), o.credit)], nil
	}
	return space[:min(int64(len(space)), left+1)], nil
}

// listen looks what the client has said meanwhile, and waits for it where it has to give credit first.
func (o *outgoing) listen(more bool) error {
	for !o.over {
		var q request
		var err error
		if more && o.credit == 0 {
			if err := o.flush(); err != nil {
				return err
			}
			q, err = o.next()
		} else {
			var ok bool
			if q, ok, err = o.poll(); !ok && err == nil {
				return nil
			}
		}
		if err == nil {
			err = o.heed(q)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// poll is next without waiting.
func (p *pickupSession) poll() (q request, ok bool, err error) {
	select {
	case q, ok = <-p.in:
		if !ok {
			err = p.err
		}
		return q, ok, err
	case <-p.lost:
		return q, false, p.tellLost()
	default:
		return q, false, nil
	}
}

// heed takes a frame that comes while messages are sent.
func (o *outgoing) heed(q request) error {
	switch {
	case q.kind == cancelFrame && len(q.content) == 0:
		o.over = true
		o.buf = appendFrame(o.buf[:0], cancelFrame, nil) // what has not been written is not wanted any more
		return nil
	case q.kind == creditFrame:
		n, ok := decodeCredit(q.content)
		if o.credit += n; !ok || o.credit > window {
			return errFrame
		}
		return nil
	}
	return o.aside(q)
}

// frame puts a head before the n octets that stand behind the buffer's end.
func (o *outgoing) frame(kind frameType, n int) error {
	if kind == dataFrame && n == 0 {
		return nil
	}
	at := len(o.buf)
	o.buf = append(o.buf, byte(kind), 0, 0, 0, 0)
	o.buf = closeFrame(o.buf[:at+headLength+n], at, n)
	o.credit -= int64(n)
	if cap(o.buf)-len(o.buf) < minRoom {
		return o.flush()
	}
	return nil
}

// failure ends a message with the code of an error.
func (o *outgoing) failure(err error) error {
	if cap(o.buf)-len(o.buf) < minRoom {
		if err := o.flush(); err != nil {
			return err
		}
	}
	o.buf = appendFrame(o.buf, failureFrame, []byte(o.failed("retrieve", o.sid, err)))
	return nil
}

func (o *outgoing) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	err := o.wire.send(o.buf)
	o.buf = o.buf[:0]
	return err
}
