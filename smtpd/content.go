package smtpd

import (
	"errors"
	"io"
)

// content reads the content of one DATA, without its stuffing (RFC 5321 section 4.5.2), in place of go-smtp's reader. That one
// looks at each octet, which for a message of 75 KiB took two thirds of the time of the whole receiver. It takes the same
// decisions, by the tap's dots. What the client sent behind the end is go-smtp's.
//
// Under TLS that can't be: what stands behind the end could not be given back.
type content struct{ g *guard }

// errTaken tells go-smtp's reader of DATA that nothing is left of the content. It is not the connection's end: the next read
// goes on.
var errTaken = errors.New("smtpd: the session has read the content")

// canTake tells whether the content that comes can be read by content, which has to read all of it then. Where a client has
// not waited for the 354, go-smtp has read some of it already.
func (g *guard) canTake() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.sealed && !g.tap.early && g.tap.mode == inData && g.tap.verb == "DATA"
}

// Read returns the next octets of the content, and io.EOF with or behind the last. Its other errors are the guard's.
func (c content) Read(p []byte) (int, error) {
	if c.g.contentTaken() {
		return 0, io.EOF
	}
	for len(p) > 0 {
		n, err := c.g.receive(p)
		if err != nil {
			return 0, err
		}
		kept, over, ended := c.g.followContent(p[:n])
		switch {
		case ended && c.g.isOver():
			return 0, c.g.readError()
		case over:
			return kept, io.EOF
		case kept > 0:
			return kept, nil
		}
	}
	return 0, nil
}

// followContent shows p to the tap, moves what it holds of the content to its beginning, and keeps what stands behind the end
// for go-smtp: less than one piece that was read.
func (g *guard) followContent(p []byte) (kept int, over, ended bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	kept, taken, e := g.tap.content(p)
	g.handle(e)
	over = taken < len(p) || g.tap.dots.state == dotEnd
	if over {
		g.taken = true
		g.left = append(g.left, p[taken:]...)
	}
	return kept, over, g.ending != nil
}

func (g *guard) contentTaken() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taken
}

// passContent tells, once, that go-smtp asks for content that was taken.
func (g *guard) passContent() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	told := g.taken
	g.taken = false
	return told
}

// takeLeft gives go-smtp what stood behind the content.
func (g *guard) takeLeft(p []byte) int {
	n := copy(p, g.left)
	if g.left = g.left[n:]; len(g.left) == 0 {
		g.left = nil
	}
	return n
}
