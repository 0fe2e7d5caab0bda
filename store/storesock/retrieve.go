package storesock

import (
	"context"
	"errors"
	"fmt"
	"io"

	"example.org/letterbox/store"
)

// stream is what was asked of the owner with one retrieve frame and has not been read to its end.
type stream struct {
	next, end int   // the index of the message that is coming or comes next, and the one behind the last
	ungranted int64 // octets of these that the owner was not given credit for yet
	consumed  int64 // octets that were read since it was given any
	likely    int   // the index that is asked for next by a client that takes all
}

// has tells whether the message at index i is the next that comes.
func (s *stream) has(i int) bool { return s.next < s.end && s.next == i }

// aheadOctets is how much one retrieve frame asks for where it asks for several messages. It may be more than the window,
// so that the owner reads on while the client takes what has come.
const aheadOctets = 1 << 20

// ask asks the owner for the message at index i, and, where the client takes one after the other, for those behind it.
func (m *maildrop) ask(i int) error {
	total := m.messages[i].Octets
	end := i + 1
	if i == m.stream.likely {
		for end < len(m.messages) && end-i < maxAhead && m.messages[end].Octets <= aheadOctets-total {
			total += m.messages[end].Octets
			end++
		}
	}
	credit := min(max(total, 1), window)
	m.stream = stream{next: i, end: end, ungranted: max(total-credit, 0), likely: m.stream.likely}
	m.credit.Store(credit)
	if err := m.send(retrieval{first: i, count: end - i, credit: credit}.frame()); err != nil {
		return m.over(false)
	}
	return nil
}

// abandon makes the owner stop, where messages are still coming that nobody has asked for.
func (m *maildrop) abandon(ctx context.Context) error {
	if m.reader != nil {
		m.reader.close(errSuperseded)
		m.reader = nil
	}
	if m.stream.next == m.stream.end {
		return nil
	}
	if err := m.send(appendFrame(nil, cancelFrame, nil)); err != nil {
		return m.over(false)
	}
	for {
		f, err := m.take(ctx, clientStall)
		if err != nil {
			m.wire.conn.Close() // what is still to come would be taken for another's
			return err
		}
		if f.kind == cancelFrame {
			m.stream.next = m.stream.end
			return nil
		}
	}
}

// finishReader makes an end of the reader that the caller has left open.
func (m *maildrop) finishReader(ctx context.Context) error {
	r := m.reader
	if r == nil {
		return nil
	}
	m.reader = nil
	defer r.close(errSuperseded)
	if err := r.grant(int64(len(r.chunk))); err != nil { // what is dropped is taken too
		return err
	}
	if m.stream.ungranted > 0 && !r.whole { // much may still come
		return m.abandon(ctx)
	}
	// What is still to come was allowed to be sent, so it is here or about to be; and others may follow it.
	r.ctx = context.Background()
	for !r.whole {
		if err := r.fetch(); err != nil {
			return err
		}
	}
	return nil
}

var (
	errSuperseded = fmt.Errorf("%w: another message was asked for meanwhile", store.ErrUnavailable)
	errReadClosed = errors.New("read of a message that was closed")
)

// messageReader reads one message.
type messageReader struct {
	m     *maildrop
	ctx   context.Context
	frame []byte // the content of the last frame
	chunk []byte // what of it has not been read
	left  int64  // octets that have not come
	whole bool   // nothing more comes
	err   error  // then what follows chunk
}

// Read implements io.Reader. io.EOF means that the owner has compared the checksum.
func (r *messageReader) Read(p []byte) (int, error) {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if len(r.chunk) == 0 && !r.whole {
		if err := r.fetch(); err != nil {
			return 0, err
		}
	}
	if len(r.chunk) == 0 {
		return 0, r.err
	}
	n := copy(p, r.chunk)
	if r.chunk = r.chunk[n:]; len(r.chunk) == 0 {
		r.m.free(r.frame)
		r.frame = nil
	}
	return n, r.grant(int64(n))
}

// grant gives the owner credit for n octets that were read, in steps.
func (r *messageReader) grant(n int64) error {
	s := &r.m.stream
	if s.consumed += n; s.consumed < window/2 || s.ungranted == 0 {
		return nil
	}
	more := min(s.consumed, s.ungranted)
	s.consumed, s.ungranted = 0, s.ungranted-more
	r.m.credit.Add(more)
	if err := r.m.send(appendCredit(nil, more)); err != nil {
		return r.m.over(false)
	}
	return nil
}

// Close implements io.Closer. The rest of a large message is not sent.
func (r *messageReader) Close() error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if r.m.reader == r {
		r.m.finishReader(context.Background()) //nolint:errcheck // the next call has it
	}
	r.close(errReadClosed)
	return nil
}

func (r *messageReader) close(err error) { r.chunk, r.whole, r.err = nil, true, err }

// fetch waits for the next frame of the message. An error of the connection is returned; one of the message follows what
// has come of it.
func (r *messageReader) fetch() error {
	f, err := r.m.take(r.ctx, answerTime)
	if err != nil {
		return err
	}
	switch f.kind {
	case dataFrame, lastFrame:
		r.left -= int64(len(f.content))
		if r.left < 0 || f.kind == lastFrame && r.left > 0 {
			return r.m.garbage()
		}
		r.frame = f.content
		if r.chunk = f.content; f.kind == lastFrame {
			r.ends(io.EOF)
		}
		return nil
	case failureFrame:
		_, err := answerOf(f.kind, f.content)
		if failure := (*remoteFailure)(nil); errors.As(err, &failure) {
			r.ends(failure.err)
			return nil
		}
	}
	return r.m.garbage()
}

// ends notes that nothing more comes of the message.
func (r *messageReader) ends(err error) {
	r.whole, r.err = true, err
	r.m.stream.next++
}
