package storesock

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// newLink makes a wire for the services that send binary frames. It has no buffer for writing: frames are put together by
// their sender, so that what belongs together is one write.
func newLink(c net.Conn, stall time.Duration, buffer int) *wire {
	return &wire{conn: c, r: bufio.NewReaderSize(c, buffer), stall: stall}
}

// appendFrame appends a whole frame to b.
func appendFrame(b []byte, kind frameType, content []byte) []byte {
	return append(closeFrame(append(b, byte(kind), 0, 0, 0, 0), len(b), len(content)), content...)
}

// closeFrame writes the length of the frame that begins at b[at].
func closeFrame(b []byte, at, length int) []byte {
	binary.BigEndian.PutUint32(b[at+1:], uint32(length))
	return b
}

// appendParts appends content as part frames and the frame that ends it.
func appendParts(b, content []byte, size int) []byte {
	for len(content) > 0 {
		n := min(len(content), size)
		b = appendFrame(b, partFrame, content[:n])
		content = content[n:]
	}
	return appendFrame(b, endFrame, nil)
}

// send writes whole frames in one.
func (c *wire) send(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// head waits until the given time, or for ever, for a frame, and returns its type and length. io.EOF means that the peer
// closed between two frames.
func (c *wire) head(until time.Time, limit int) (frameType, int, error) {
	if c.r.Buffered() == 0 {
		if err := c.readUntil(until); err != nil {
			return 0, 0, err
		}
		if _, err := c.r.Peek(1); err != nil {
			return 0, 0, err
		}
	}
	if err := c.expect(headLength); err != nil {
		return 0, 0, err
	}
	var head [headLength]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, 0, unexpected(err)
	}
	length := binary.BigEndian.Uint32(head[1:])
	if uint64(length) > uint64(limit) {
		return 0, 0, errFrame
	}
	return frameType(head[0]), int(length), nil
}

// expect bounds the time in which the next n octets come.
func (c *wire) expect(n int) error {
	if c.r.Buffered() >= n {
		return nil
	}
	return c.readUntil(time.Now().Add(c.stall))
}

// content fills b with the next octets of a frame.
func (c *wire) content(b []byte) error {
	if err := c.expect(len(b)); err != nil {
		return err
	}
	_, err := io.ReadFull(c.r, b)
	return unexpected(err)
}

// next reads one whole frame.
func (c *wire) next(until time.Time, limit int) (frameType, []byte, error) {
	kind, n, err := c.head(until, limit)
	if err != nil {
		return 0, nil, err
	}
	b := make([]byte, n)
	return kind, b, c.content(b)
}

// readUntil sets the deadline of reading; the zero time stands for none. Once stopReading was called no deadline is later
// than it said.
func (c *wire) readUntil(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.IsZero() && (t.IsZero() || t.After(c.last)) {
		t = c.last
	}
	if t.IsZero() && c.unlimited {
		return nil
	}
	c.unlimited = t.IsZero()
	return c.conn.SetReadDeadline(t)
}

// stopReading makes every read after t fail, also one under way.
func (c *wire) stopReading(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.unlimited = t, false
	c.conn.SetReadDeadline(t) //nolint:errcheck // it fails when the connection is closed
}

// hungUp tells whether err is the peer's closing.
func hungUp(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
