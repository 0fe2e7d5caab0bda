package storesock

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// The bounds of what is sent and read, in octets.
const (
	maxFrame   = 256 << 10
	maxMessage = 64 << 20
	maxHello   = 1 << 10
	headLength = 5
)

// frameType is the first octet of a frame.
type frameType byte

const (
	helloFrame frameType = 'H' // a whole JSON object; the first frame each way
	partFrame  frameType = 'P' // the next octets of a message
	endFrame   frameType = 'E' // the message is complete; holds nothing

	streamFrame frameType = 'S' // the next octets of a stream beside the messages, of the admin service alone
)

// errFrame is garbage from the other side; the connection can't go on.
var errFrame = errors.New("not a frame of this protocol")

// errMessageSize is a message that is longer than a message may be.
var errMessageSize = fmt.Errorf("more than %d MiB in one message", maxMessage>>20)

// wire is one connection, read by one goroutine at a time and written by one.
type wire struct {
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	// stall is how long a read or a write of one frame may take once a message is under way.
	stall time.Duration
	// limit is the longest message, in octets.
	limit int
	// ready is the draft that the owner has prepared on this connection, on the client's side; nil without.
	ready *prepared

	mu        sync.Mutex
	last      time.Time // no read goes on beyond; zero while the service runs
	unlimited bool      // reads have no deadline now
}

func newWire(c net.Conn, stall time.Duration) *wire {
	return &wire{conn: c, r: bufio.NewReader(c), w: bufio.NewWriter(c), stall: stall, limit: maxMessage}
}

// readFrame returns the type and the content of the next frame. io.EOF means that the peer closed between two frames.
func readFrame(r io.Reader, limit int) (frameType, []byte, error) {
	var head [headLength]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	kind, length := frameType(head[0]), binary.BigEndian.Uint32(head[1:])
	switch kind {
	case helloFrame, partFrame, endFrame, streamFrame:
	default:
		return 0, nil, errFrame
	}
	if uint64(length) > uint64(limit) || (kind == endFrame) != (length == 0) {
		return 0, nil, errFrame
	}
	content := make([]byte, length)
	if _, err := io.ReadFull(r, content); err != nil {
		return 0, nil, unexpected(err)
	}
	return kind, content, nil
}

// unexpected turns an end of file into one that came too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func writeFrame(w io.Writer, kind frameType, content []byte) error {
	head := [headLength]byte{byte(kind)}
	if _, err := w.Write(closeFrame(head[:], 0, len(content))); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// readMessage returns the content of the next message. The caller has set the deadline of the first frame; memory grows
// only with what has come.
func (c *wire) readMessage() ([]byte, error) {
	var message []byte
	for {
		kind, content, err := readFrame(c.r, maxFrame)
		switch {
		case err != nil && message != nil:
			return nil, unexpected(err)
		case err != nil:
			return nil, err
		case kind == endFrame && message != nil:
			return message, nil
		case kind != partFrame:
			return nil, errFrame
		case len(message)+len(content) > c.limit:
			return nil, errMessageSize
		}
		message = append(message, content...)
		if err := c.conn.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
			return nil, err
		}
	}
}

// writeMessage sends v as JSON. On errMessageSize nothing was sent and the connection can go on.
func (c *wire) writeMessage(v any) error {
	message, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(message) > c.limit {
		return errMessageSize
	}
	for len(message) > 0 {
		n := min(len(message), maxFrame)
		if err := c.writeOne(partFrame, message[:n]); err != nil {
			return err
		}
		message = message[n:]
	}
	if err := c.writeOne(endFrame, nil); err != nil {
		return err
	}
	return c.w.Flush()
}

func (c *wire) writeOne(kind frameType, content []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return err
	}
	return writeFrame(c.w, kind, content)
}
