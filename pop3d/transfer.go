package pop3d

import (
	"bytes"
	"errors"
	"io"
)

// topChunk is how much of a message TOP reads at a time: most headers fit, and more would be read in vain.
const topChunk = 8 << 10

var errWrongLength = errors.New("the store gave another number of octets than it announced")

// retr is RFC 1939 section 5.
func (s *session) retr(q request) reply {
	i, failure, ok := s.box.find(q.numbers[0])
	if !ok {
		return failure
	}
	return reply{ok: true, octets: s.box.messages[i].Octets, sized: true, text: " octets", message: i, body: (*session).whole}
}

// whole sends the message at index i.
func (s *session) whole(i int) error {
	r, err := s.retrieve(i)
	if err != nil {
		return err
	}
	defer r.close()
	size := r.left
	lent, err := s.lend(r)
	if !lent {
		err = s.send(&s.out, r, size, wideBuffer)
	}
	if err == nil {
		s.box.retrieved++
		s.box.octets += size
	}
	s.observer.Retrieved(size-r.left, err == nil)
	return err
}

// top is RFC 1939 section 7.
func (s *session) top(q request) reply {
	i, failure, ok := s.box.find(q.numbers[0])
	if !ok {
		return failure
	}
	return reply{ok: true, text: "top of message follows", message: i, body: func(s *session, i int) error {
		r, err := s.retrieve(i)
		if err != nil {
			return err
		}
		defer r.close()
		return s.send(&s.out, &topReader{src: r, lines: q.numbers[1]}, r.left, topChunk)
	}}
}

// retrieve asks the store for the message at index i. What it returns is valid until the next call.
func (s *session) retrieve(i int) (*exactReader, error) {
	r, err := s.box.Retrieve(s.context(), i)
	if err != nil {
		return nil, err
	}
	s.message = exactReader{src: r, left: s.box.messages[i].Octets}
	return &s.message, nil
}

// send writes what r gives, of a message of so many octets, chunk by chunk, dot-stuffed, and the final dot. The dot, and with it the message's last octets, go out only
// once r has said io.EOF: before that the store has not compared the checksum.
func (s *session) send(w *writer, r io.Reader, octets int64, chunk int) error {
	w.beginMessage(octets)
	for {
		space := w.space(chunk)
		n, err := r.Read(space)
		if s.policy.NoNULs {
			maskNULs(space[:n])
		}
		w.stuff(n)
		switch {
		case w.err != nil:
			return w.err
		case err == io.EOF:
			w.endMessage()
			return w.err
		case err != nil:
			return err
		}
		s.box.Active()
	}
}

// maskNULs puts 0x80 in place of each NUL, so that the number of octets stays what was announced.
func maskNULs(p []byte) {
	for {
		i := bytes.IndexByte(p, 0)
		if i < 0 {
			return
		}
		p[i] = 0x80
		p = p[i+1:]
	}
}

// exactReader gives what src holds and fails where that is not exactly what was announced.
type exactReader struct {
	src  io.ReadCloser // nil once it was closed
	left int64
}

// close lets go of src.
func (r *exactReader) close() {
	r.src.Close() //nolint:errcheck // all that was wanted of it has been read
	r.src = nil
}

func (r *exactReader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	r.left -= int64(n)
	if r.left < 0 || err == io.EOF && r.left > 0 {
		return n, errWrongLength
	}
	return n, err
}

// topReader gives the header, the empty line and so many lines of the body of what src holds.
type topReader struct {
	src   io.Reader
	lines int64 // of the body, still to come
	body  bool  // the empty line was seen
	// column counts the octets of the present line that earlier reads gave, up to 2; cr tells that it is a lone CR.
	column int
	cr     bool
	done   bool
}

// Read returns io.EOF where the top ends. It reports an error of src as it comes.
func (t *topReader) Read(p []byte) (int, error) {
	if t.done {
		return 0, io.EOF
	}
	n, err := t.src.Read(p)
	if cut, ok := t.cut(p[:n]); ok {
		t.done = true
		return cut, nil
	}
	return n, err
}

// cut returns how many octets of chunk belong to the top when it ends in there.
func (t *topReader) cut(chunk []byte) (int, bool) {
	for at := 0; ; {
		i := bytes.IndexByte(chunk[at:], '\n')
		if i < 0 {
			t.carry(chunk[at:])
			return 0, false
		}
		t.carry(chunk[at : at+i])
		at += i + 1
		empty := t.column == 0 || t.column == 1 && t.cr
		t.column, t.cr = 0, false
		switch {
		case t.body:
			t.lines--
		case empty:
			t.body = true
		default:
			continue
		}
		if t.lines == 0 {
			return at, true
		}
	}
}

// carry notes part of a line, as far as it matters for being empty.
func (t *topReader) carry(part []byte) {
	if len(part) == 0 {
		return
	}
	t.cr = t.column == 0 && len(part) == 1 && part[0] == '\r'
	t.column = min(t.column+len(part), 2)
}
