package storesock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"example.org/letterbox/store"
)

const (
	// inbound is how many frames wait for whoever reads a message: what a window holds, with room to spare. An owner that
	// sends more is cut off.
	inbound = 4 * maxAhead
	// activeEvery is how often the owner is told that the client moved.
	activeEvery = time.Second
	// closeTime is how long Close waits for the owner to say that the lock is free.
	closeTime = 5 * time.Second
)

// maildrop is a store.Maildrop at the other end of a socket. One goroutine reads; calls run one after the other, but Close
// breaks off what is under way.
type maildrop struct {
	wire     *wire
	messages []store.Message
	buffers  *sync.Pool // of *[streamBuffer]byte

	in      chan request // from the reader; closed when the connection is at its end
	credit  atomic.Int64 // octets of messages that the owner may still send
	taken   atomic.Bool  // the owner said that the maildrop is not ours any more
	closing atomic.Bool
	lost    chan struct{}
	lose    sync.Once

	sending sync.Mutex   // held while a frame is written
	active  atomic.Int64 // Unix nanoseconds when the owner was last told that the client moved

	mu     sync.Mutex
	reader *messageReader // the one that is open
	stream stream
	closed bool
}

// Messages implements store.Maildrop.
func (m *maildrop) Messages() []store.Message { return m.messages }

// Lost implements store.Maildrop.
func (m *maildrop) Lost() <-chan struct{} { return m.lost }

// read takes frames off the connection until it ends.
func (m *maildrop) read() {
	defer m.end()
	for {
		kind, content, err := m.next()
		if err != nil {
			return
		}
		switch kind {
		case lostFrame:
			if len(content) > 0 {
				return
			}
			m.taken.Store(true)
			m.lose.Do(func() { close(m.lost) })
			continue
		case dataFrame, lastFrame:
			if m.credit.Add(-int64(len(content))) < 0 || kind == dataFrame && len(content) == 0 {
				return
			}
		case answerFrame, failureFrame, cancelFrame:
		default:
			return
		}
		select {
		case m.in <- request{kind, content}:
		default:
			return
		}
	}
}

// next reads a frame. Large contents stand in memory that free takes back.
func (m *maildrop) next() (frameType, []byte, error) {
	kind, n, err := m.wire.head(time.Time{}, maxFrame)
	if err != nil {
		return 0, nil, err
	}
	var content []byte
	if n <= pooledFrom || n > streamBuffer {
		content = make([]byte, n)
	} else if buffer, ok := m.buffers.Get().(*[streamBuffer]byte); ok {
		content = buffer[:n]
	} else {
		content = new([streamBuffer]byte)[:n]
	}
	return kind, content, m.wire.content(content)
}

// pooledFrom is from how many octets on taking memory costs more than keeping it.
const pooledFrom = 8 << 10

func (m *maildrop) free(content []byte) {
	if cap(content) == streamBuffer {
		m.buffers.Put((*[streamBuffer]byte)(content[:streamBuffer]))
	}
}

// end is the end of the connection: the maildrop is not ours any more.
func (m *maildrop) end() {
	m.wire.conn.Close()
	if !m.closing.Load() {
		m.lose.Do(func() { close(m.lost) })
	}
	close(m.in)
}

func (m *maildrop) send(b []byte) error {
	m.sending.Lock()
	defer m.sending.Unlock()
	return m.wire.send(b)
}

// Active implements store.Maildrop. The owner is told once a second at most.
func (m *maildrop) Active() {
	now := time.Now().UnixNano()
	if last := m.active.Load(); now-last > int64(activeEvery) && m.active.CompareAndSwap(last, now) {
		m.send(appendFrame(nil, activeFrame, nil)) //nolint:errcheck // the reader notices
	}
}

// take waits for the owner's next frame.
func (m *maildrop) take(ctx context.Context, wait time.Duration) (request, error) {
	select {
	case f, ok := <-m.in:
		return f, m.over(ok)
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case f, ok := <-m.in:
		return f, m.over(ok)
	case <-ctx.Done():
		return request{}, ctx.Err()
	case <-timer.C:
		m.wire.conn.Close()
		return request{}, errSilent
	}
}

var (
	errSilent = fmt.Errorf("%w: its process does not answer", store.ErrUnavailable)
	errBroken = fmt.Errorf("%w: the connection to its process broke", store.ErrUnavailable)
)

// over is the error of a connection at its end.
func (m *maildrop) over(ok bool) error {
	switch {
	case ok:
		return nil
	case m.taken.Load() || m.closing.Load():
		return store.ErrLost
	}
	return errBroken
}

// garbage ends a connection whose other end can't be understood.
func (m *maildrop) garbage() error {
	m.wire.conn.Close()
	return fmt.Errorf("%w: %w", store.ErrUnavailable, errFrame)
}

// Commit implements store.Maildrop. When the connection breaks before the answer, the outcome is unknown and the error
// store.ErrUnavailable.
func (m *maildrop) Commit(ctx context.Context, deleted []int) error {
	b, err := encodeDeletion(deleted, len(m.messages))
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed || m.taken.Load():
		return store.ErrLost
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if err := m.abandon(ctx); err != nil {
		return err
	}
	if err := m.send(appendParts(nil, b, maxRequest)); err != nil { // so the end frame did not get there
		return m.over(false)
	}
	late, cancel := graceful(ctx)
	defer cancel()
	return m.answer(late)
}

// graceful returns a context that ends a while after ctx does.
func graceful(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(cancelGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-late.Done():
		}
	})
	return late, func() { stop(); cancel() }
}

// answer waits for the answer to what was asked, which says nothing but whether it was done.
func (m *maildrop) answer(ctx context.Context) error {
	f, err := m.take(ctx, answerTime)
	if err != nil {
		m.wire.conn.Close()                // a late answer would be taken for another's
		if errors.Is(err, store.ErrLost) { // which would say that nothing was done
			err = errBroken
		}
		return err
	}
	content, err := answerOf(f.kind, f.content)
	if failure := (*remoteFailure)(nil); errors.As(err, &failure) {
		return failure.err
	}
	if err != nil || len(content) > 0 {
		return m.garbage()
	}
	return nil
}

// Close implements store.Maildrop. It returns when the owner has freed the lock, or has been cut off, which frees it too.
func (m *maildrop) Close() error {
	m.closing.Store(true)
	if !m.mu.TryLock() { // something is under way
		m.wire.conn.Close()
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	defer m.wire.conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if m.abandon(ctx) != nil || m.send(appendFrame(nil, shutFrame, nil)) != nil {
		return nil
	}
	m.answer(ctx) //nolint:errcheck // closing the connection frees the lock whatever the answer is
	return nil
}

// Retrieve implements store.Maildrop. A reader is of no more use once another message is retrieved.
func (m *maildrop) Retrieve(ctx context.Context, i int) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i < 0 || i >= len(m.messages) {
		return nil, fmt.Errorf("no message at index %d", i)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, store.ErrLost
	}
	if err := m.finishReader(ctx); err != nil {
		return nil, err
	}
	if !m.stream.has(i) {
		if err := m.abandon(ctx); err != nil {
			return nil, err
		}
		if err := m.ask(i); err != nil {
			return nil, err
		}
	}
	m.stream.likely = i + 1
	r := &messageReader{m: m, ctx: ctx, left: m.messages[i].Octets}
	m.reader = r
	if err := r.fetch(); err != nil {
		return nil, err
	}
	if r.whole && r.err != io.EOF { // nothing of it can be read
		m.reader = nil
		return nil, r.err
	}
	return r, nil
}
