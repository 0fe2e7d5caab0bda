package storesock

import (
	"encoding/json"
	"io"
	"time"
)

// streamWriter sends what is written as stream frames.
type streamWriter struct{ w *wire }

// Write sends p at once, in frames of their own.
func (s streamWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		part := p[n:min(len(p), n+maxFrame)]
		if err := s.w.writeOne(streamFrame, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, s.w.w.Flush()
}

// streamReader reads stream frames up to the end frame behind them.
type streamReader struct {
	w    *wire
	rest []byte
	done bool
}

// Read returns what the frames hold. io.EOF comes behind the end frame alone.
func (s *streamReader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.done {
			return 0, io.EOF
		}
		if err := s.w.conn.SetReadDeadline(time.Now().Add(s.w.stall)); err != nil {
			return 0, err
		}
		kind, content, err := readFrame(s.w.r, maxFrame)
		switch {
		case err != nil:
			return 0, unexpected(err)
		case kind == endFrame:
			s.done = true
		case kind == streamFrame:
			s.rest = content
		default:
			return 0, errFrame
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// drain reads what is left of the stream, so that the next request can be read.
func (s *streamReader) drain() error {
	_, err := io.Copy(io.Discard, s)
	return err
}

// readAnswer reads an answer, and gives what is streamed in front of it to out. Once that has begun it waits for no frame longer
// than stall; 0 is for ever.
func (c *wire) readAnswer(out io.Writer, stall time.Duration, answer *adminAnswer) error {
	for {
		head, err := c.r.Peek(1)
		if err != nil {
			return unexpected(err)
		}
		if frameType(head[0]) != streamFrame {
			break
		}
		_, content, err := readFrame(c.r, maxFrame)
		if err != nil {
			return unexpected(err)
		}
		if out == nil {
			return errFrame
		}
		if _, err := out.Write(content); err != nil {
			return &outputError{err}
		}
		if stall == 0 {
			continue
		}
		if err := c.conn.SetReadDeadline(time.Now().Add(stall)); err != nil {
			return err
		}
	}
	message, err := c.readMessage()
	if err != nil {
		return unexpected(err)
	}
	if json.Unmarshal(message, answer) != nil {
		return errFrame
	}
	return nil
}

// outputError is a failure of the caller's own writer or reader, and not of the connection.
type outputError struct{ cause error }

func (e *outputError) Error() string { return e.cause.Error() }

func (e *outputError) Unwrap() error { return e.cause }
