package smtpd

import "bytes"

// dots follows go-smtp's reader of DATA, octet for octet, to know where the content ends in what was read. It must take
// the same decisions as that reader, also the odd ones: after CR CR the line is not over, so CR CR LF . CR LF is no end.
type dots struct {
	state dotState
	tail  [lostEndLen]byte // the last octets of the content
}

type dotState uint8

const (
	dotBegin dotState = iota // at the beginning of a line
	dotDot                   // after a dot there
	dotDotCR                 // after dot and CR there
	dotCR                    // after a CR
	dotData                  // inside a line
	dotEnd                   // the content is over
)

// The endings of senders that turned the LF of a CRLF into another CRLF. go-smtp reads on behind both.
const (
	lostEnd    = "\r\r\n.\r\n"
	lostEnd2   = "\r\r\n.\r\r\n"
	lostEndLen = len(lostEnd2)
)

// scan follows p and returns how many of its octets belong to the content and its end.
func (d *dots) scan(p []byte) int {
	n := 0
	for n < len(p) && d.state != dotEnd {
		if d.state == dotData {
			skip := bytes.IndexByte(p[n:], '\r')
			if skip < 0 {
				n = len(p)
				break
			}
			n += skip
		}
		d.state = d.state.next(p[n])
		n++
	}
	d.remember(p[:n])
	return n
}

func (s dotState) next(b byte) dotState {
	switch {
	case s == dotBegin && b == '.':
		return dotDot
	case s == dotDot && b == '\r':
		return dotDotCR
	case s == dotDotCR && b == '\n':
		return dotEnd
	case s == dotCR && b == '\n':
		return dotBegin
	case (s == dotBegin || s == dotData) && b == '\r':
		return dotCR
	default:
		return dotData
	}
}

// unstuff moves the octets of p that go-smtp's reader gives away to the beginning of p, and returns how many they are: of
// those at the beginning of a line it drops the dot, and CR and LF of what may be the end.
func (s dotState) unstuff(p []byte) int {
	n := 0
	for at := 0; at < len(p); {
		if s == dotData {
			more := bytes.IndexByte(p[at:], '\r')
			if more < 0 {
				more = len(p) - at
			}
			if n < at {
				copy(p[n:], p[at:at+more])
			}
			n += more
			if at += more; at == len(p) {
				break
			}
		}
		next := s.next(p[at])
		if next != dotDot && next != dotDotCR && next != dotEnd {
			p[n] = p[at]
			n++
		}
		s = next
		at++
	}
	return n
}

func (d *dots) remember(p []byte) {
	if len(p) >= len(d.tail) {
		copy(d.tail[:], p[len(p)-len(d.tail):])
		return
	}
	copy(d.tail[:], d.tail[len(p):])
	copy(d.tail[len(d.tail)-len(p):], p)
}

// lost tells whether the sender may believe that it has ended the content, and has not.
func (d *dots) lost() bool {
	return d.state != dotEnd &&
		(bytes.HasSuffix(d.tail[:], []byte(lostEnd)) || bytes.HasSuffix(d.tail[:], []byte(lostEnd2)))
}
