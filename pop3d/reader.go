package pop3d

import (
	"bytes"
	"errors"
	"io"
)

const (
	// leastCommandLength is how long a command line with its CRLF may be at least (RFC 2449 section 4).
	leastCommandLength = 255
	// maxLine bounds the lines of AUTH, which RFC 5034 section 4 frees from that limit: room for any PLAIN response
	// (three strings of 255 octets in UTF-8) and for the tokens of later mechanisms. It bounds the buffer, too.
	maxLine = 8 << 10
	// firstBuffer is what a session holds while it waits: a usual command is under 40 octets, and most sessions of a busy
	// machine wait. A client that fills it gets a larger one.
	firstBuffer = 512
)

var (
	errLineTooLong = errors.New("line is too long")
	errNotText     = errors.New("line begins with a control character")
)

// lineReader splits what a client sends into lines of at most maxLine octets.
type lineReader struct {
	src        io.Reader
	buf        []byte
	start, end int
	filled     bool  // the last read left no room: the client sends many commands at once
	octets     int64 // read from src
}

// take returns the next line if all of it has come, without its line end: CRLF, or a bare LF, which people at a terminal
// send. The line is valid until the next fill.
func (r *lineReader) take() (line []byte, ok bool, err error) {
	held := r.buf[r.start:r.end]
	// A TLS handshake that meets a plain port may never hold a line end: its first octet says enough.
	if len(held) > 0 && held[0] < ' ' && held[0] != '\r' && held[0] != '\n' {
		return nil, false, errNotText
	}
	i := bytes.IndexByte(held, '\n')
	if i >= maxLine || i < 0 && len(held) >= maxLine {
		return nil, false, errLineTooLong
	}
	if i < 0 {
		return nil, false, nil
	}
	r.start += i + 1
	return bytes.TrimSuffix(held[:i], []byte("\r")), true, nil
}

// fill waits for octets from the client. It is called when take has none left to give.
func (r *lineReader) fill() error {
	if r.start > 0 {
		n := copy(r.buf, r.buf[r.start:r.end])
		clear(r.buf[n:r.end]) // it may be the first half of a PASS
		r.start, r.end = 0, n
	}
	if r.buf == nil {
		r.buf = make([]byte, firstBuffer)
	} else if r.filled && len(r.buf) < maxLine {
		larger := make([]byte, 2*len(r.buf))
		copy(larger, r.buf[:r.end])
		r.buf = larger
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	r.octets += int64(n)
	r.filled = r.end == len(r.buf)
	if n > 0 {
		return nil // the error, if any, comes again
	}
	return err
}

// pending tells whether octets have come that no take has given out.
func (r *lineReader) pending() bool { return r.start < r.end }
