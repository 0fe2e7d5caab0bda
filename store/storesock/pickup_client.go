package storesock

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"example.org/letterbox/store"
)

// Pickup is a store.Pickup at the other end of a socket. Each Open has a connection for itself, which is the maildrop's lock:
// however it closes, the lock is gone. While the owner is away, every call fails with store.ErrUnavailable at once. Its
// methods may be called by any number of goroutines.
type Pickup struct {
	owner   owner
	closed  atomic.Bool
	buffers sync.Pool // of *[streamBuffer]byte
}

var _ store.Pickup = (*Pickup)(nil)

// NewPickup makes a Pickup for the pickup socket at path. It does not connect.
func NewPickup(path string) *Pickup {
	return &Pickup{owner: owner{service: pickupService, path: path}}
}

// Ping returns nil when the owner is there and can be understood.
func (p *Pickup) Ping(ctx context.Context) error {
	w, err := p.dial(ctx)
	if err != nil {
		return err
	}
	return w.conn.Close()
}

// Close makes later calls fail. Maildrops that are open stay so until they are closed themselves.
func (p *Pickup) Close() error {
	p.closed.Store(true)
	return nil
}

func (p *Pickup) dial(ctx context.Context) (*wire, error) {
	if p.closed.Load() {
		return nil, errPoolClosed
	}
	return p.owner.dial(ctx)
}

// Open implements store.Pickup. An error of l.Exchange ends it, and is returned as it is.
func (p *Pickup) Open(ctx context.Context, l store.Login) (store.Maildrop, error) {
	opening := loginFrame(l)
	if len(opening) > headLength+maxRequest {
		return nil, errRequestSize
	}
	w, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	messages, err := login(ctx, w, opening, l.Exchange)
	if err != nil {
		w.conn.Close()
		return nil, err
	}
	return p.maildrop(w, messages), nil
}

// maildrop is one that w holds open.
func (p *Pickup) maildrop(w *wire, messages []store.Message) *maildrop {
	m := &maildrop{
		wire: w, messages: messages, buffers: &p.buffers, in: make(chan request, inbound), lost: make(chan struct{}),
	}
	go m.read()
	return m
}

// login sends a login and returns the snapshot.
func login(ctx context.Context, w *wire, opening []byte, exchange exchanger) ([]store.Message, error) {
	stop := breakOff(ctx, w.conn)
	messages, err := negotiate(ctx, w, opening, exchange)
	if !stop() && err == nil { // the connection is being closed
		err = ctx.Err()
	}
	var failure *remoteFailure
	var given *exchangeError
	switch {
	case err == nil:
		return messages, nil
	case errors.As(err, &given):
		return nil, given.err
	case errors.As(err, &failure):
		return nil, failure.err
	}
	return nil, transport(ctx, err)
}

type exchanger = func(ctx context.Context, server []byte) (client []byte, err error)

// exchangeError is an error of the caller's Exchange.
type exchangeError struct{ err error }

func (e *exchangeError) Error() string { return e.err.Error() }

func negotiate(ctx context.Context, w *wire, opening []byte, exchange exchanger) ([]store.Message, error) {
	if err := w.send(opening); err != nil {
		return nil, err
	}
	for {
		kind, content, err := w.next(time.Now().Add(answerTime), maxRequest)
		if err != nil {
			return nil, unexpected(err)
		}
		if kind != stepFrame || exchange == nil {
			return opened(w, kind, content)
		}
		if err := step(ctx, w, content, exchange); err != nil {
			return nil, err
		}
	}
}

// step passes one message of the owner's on, and sends what the client says to it.
func step(ctx context.Context, w *wire, server []byte, exchange exchanger) error {
	if len(server) == 0 {
		server = nil
	}
	client, err := exchange(ctx, server)
	if err == nil && len(client) > maxRequest {
		err = errRequestSize
	}
	if err != nil {
		return &exchangeError{err}
	}
	return w.send(appendFrame(nil, stepFrame, client))
}

// opened takes the owner's answer to a login and reads the snapshot behind it.
func opened(w *wire, kind frameType, content []byte) ([]store.Message, error) {
	answer, err := answerOf(kind, content)
	if err != nil {
		return nil, err
	}
	f := fields{b: answer}
	count := int(f.uint(maxMessages))
	if !f.end() {
		return nil, errFrame
	}
	messages := make([]store.Message, 0, min(count, maxBelieved))
	for len(messages) < count {
		kind, content, err := w.next(time.Now().Add(clientStall), maxFrame)
		if err != nil {
			return nil, unexpected(err)
		}
		var ok bool
		if messages, ok = decodeMessages(messages, content, count); kind != listFrame || !ok {
			return nil, errFrame
		}
	}
	return messages, nil
}

// maxBelieved is how many messages memory is taken for before they have come.
const maxBelieved = 1 << 17
