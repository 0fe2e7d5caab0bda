package probe

import (
	"bufio"
	"bytes"
	"io"
)

// stuffer writes content as it goes over the wire: a dot in front of each line that begins with one (RFC 5321 section
// 4.5.2). It takes lines that end in CRLF.
type stuffer struct {
	w    *bufio.Writer
	last [2]byte // the last octets written; CRLF at the start
}

func newStuffer(w *bufio.Writer) *stuffer { return &stuffer{w: w, last: [2]byte{'\r', '\n'}} }

func (s *stuffer) Write(b []byte) (int, error) {
	whole := len(b)
	for len(b) > 0 {
		if b[0] == '.' && s.last == [2]byte{'\r', '\n'} {
			s.w.WriteByte('.')
		}
		n := len(b)
		// A line end that two writes share is found by last: the piece behind it begins at its start.
		if s.last[1] == '\r' && b[0] == '\n' {
			n = 1
		} else if i := bytes.Index(b, []byte("\r\n.")); i >= 0 {
			n = i + 2
		}
		if _, err := s.w.Write(b[:n]); err != nil {
			return whole - len(b), err
		}
		if n == 1 {
			s.last = [2]byte{s.last[1], b[0]}
		} else {
			s.last = [2]byte(b[n-2 : n])
		}
		b = b[n:]
	}
	return whole, nil
}

// end writes the end of the content, and flushes. Content that lacks its last line end is given one.
func (s *stuffer) end() error {
	if s.last != [2]byte{'\r', '\n'} {
		s.w.WriteString("\r\n")
	}
	s.w.WriteString(".\r\n")
	return s.w.Flush()
}

// content copies the content of a multi-line reply to w, without stuffing and without its end, and returns how many octets
// it has (RFC 1939 section 3). Lines may be of any length; the memory is the reader's buffer. After an error of w the connection
// is of no use: the rest of the content still comes.
func (c *conn) content(w io.Writer) (int64, error) {
	octets, start := int64(0), true
	for {
		if start {
			end, err := c.lineStart()
			if end || err != nil {
				return octets, err
			}
		}
		b, err := c.piece()
		if err != nil {
			return octets, err
		}
		n := len(b)
		if i := bytes.Index(b, []byte("\r\n.")); i >= 0 {
			n = i + 2
		} else if n > 1 && b[n-1] == '\r' {
			n-- // half a line end, maybe: it is looked at with what follows
		}
		start = n > 1 && b[n-2] == '\r' && b[n-1] == '\n'
		if _, err := w.Write(b[:n]); err != nil {
			return octets, err
		}
		octets += int64(n)
		if _, err := c.r.Discard(n); err != nil {
			return octets, err
		}
	}
}

// piece returns what is in the buffer, filled anew where it is empty or holds a CR alone.
func (c *conn) piece() ([]byte, error) {
	b, err := c.r.Peek(1)
	if err == nil && b[0] == '\r' {
		_, err = c.r.Peek(2)
	}
	if err != nil {
		return nil, err
	}
	return c.r.Peek(c.r.Buffered())
}

// lineStart takes the dot off a line that begins with one, and tells whether the line was the end.
func (c *conn) lineStart() (end bool, err error) {
	b, err := c.r.Peek(1)
	if err != nil || b[0] != '.' {
		return false, err
	}
	if b, err = c.r.Peek(3); err != nil {
		return false, err
	}
	if end = b[1] == '\r' && b[2] == '\n'; end {
		_, err = c.r.Discard(3)
		return end, err
	}
	_, err = c.r.Discard(1)
	return false, err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
