package smtpd

import (
	"bytes"
	"io"
)

// body is a message's content on its way into the store: made canonical, and its header read.
type body struct {
	canonical
	header header
}

func newBody(w io.Writer, host string, bounds headerBounds) *body {
	b := &body{header: header{w: w, host: host, bounds: bounds}}
	b.canonical.w = &b.header
	return b
}

// finish ends the content.
func (b *body) finish() error {
	if err := b.canonical.finish(); err != nil {
		return err
	}
	return b.header.finish()
}

// canonical writes a message's content as the store wants it: each line ends in CRLF, no CR or LF stands alone, and the
// last line is ended too. NUL and every other octet stay. It holds one octet at most, so pieces may be cut anywhere.
type canonical struct {
	w     io.Writer
	held  bool // a CR came last; the next piece may begin with its LF
	bare  bool // a CR or LF stood alone
	ended bool // what was written ends in CRLF
}

// Write takes the next piece as the sender wrote it.
func (c *canonical) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		used, err := c.step(p)
		if err != nil {
			return total - len(p), err
		}
		p = p[used:]
	}
	return total, nil
}

// step writes the canonical beginning of p in one piece, or else settles one CR or LF, and returns how much of p that took.
func (c *canonical) step(p []byte) (int, error) {
	if c.held {
		c.held = false
		if p[0] == '\n' {
			return 1, c.newline()
		}
		c.bare = true
		return 0, c.newline()
	}
	switch n := canonicalPrefix(p); {
	case n > 0:
		c.ended = p[n-1] == '\n'
		_, err := c.w.Write(p[:n])
		return n, err
	case p[0] == '\r':
		c.held = true
		return 1, nil
	default:
		c.bare = true
		return 1, c.newline()
	}
}

// finish ends the last line. An empty message becomes one empty line.
func (c *canonical) finish() error {
	if c.held {
		c.held, c.bare = false, true
		return c.newline()
	}
	if c.ended {
		return nil
	}
	return c.newline()
}

func (c *canonical) newline() error {
	c.ended = true
	_, err := io.WriteString(c.w, "\r\n")
	return err
}

// canonicalPrefix returns how many octets of p can be written as they are: up to the first CR or LF that does not stand in
// a CRLF, or whose LF is not in p.
func canonicalPrefix(p []byte) int {
	at := 0
	for {
		rest := p[at:]
		lf := bytes.IndexByte(rest, '\n')
		line := rest
		if lf >= 0 {
			line = rest[:lf]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case lf < 0 && cr < 0:
			return len(p)
		case cr >= 0 && cr != lf-1:
			return at + cr
		case cr < 0:
			return at + lf
		}
		at += lf + 1
	}
}

// firstLine finds out whether a message begins with a header field (RFC 5322 section 2.2). If not, an empty line must
// stand above it, or else it would continue our own trace fields or stand among them.
type firstLine struct {
	state fieldState
}

type fieldState uint8

const (
	fieldStart fieldState = iota
	fieldName
	fieldBlank // blanks between the name and its colon (RFC 5322 section 4.5.8)
	fieldFound
	fieldMissing
	fieldEmpty // the first line is empty: there are no header fields, and the line ends ours
)

func (f *firstLine) scan(p []byte) {
	for _, b := range p {
		if f.state >= fieldFound {
			return
		}
		f.state = f.state.next(b)
	}
}

func (s fieldState) next(b byte) fieldState {
	switch {
	case s == fieldStart && (b == '\r' || b == '\n'):
		return fieldEmpty
	case s != fieldStart && b == ':':
		return fieldFound
	case s != fieldStart && (b == ' ' || b == '\t'):
		return fieldBlank
	case s != fieldBlank && b > ' ' && b < 0x7f && b != ':':
		return fieldName
	default:
		return fieldMissing
	}
}

// needsEmptyLine tells, at the end of the message, whether an empty line must stand above it.
func (f *firstLine) needsEmptyLine() bool {
	return f.state != fieldFound && f.state != fieldEmpty && f.state != fieldStart
}
