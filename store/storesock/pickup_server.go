package storesock

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

// pickupServer is the owner's side of the pickup service.
type pickupServer struct {
	service
	pickup  store.Pickup
	buffers sync.Pool // of *[streamBuffer]byte
}

func newPickupServer(p store.Pickup, log zerolog.Logger) *pickupServer {
	return &pickupServer{
		service: newService(pickupService, p, log), pickup: p,
		buffers: sync.Pool{New: func() any { return new([streamBuffer]byte) }},
	}
}

// ServePickup answers on l for p, until ctx ends or l is closed: then it closes l and every connection, and with it the
// maildrop that it holds, waits for deletions that had come whole, and returns nil. At most 2,500 connections are served at
// once; who may connect is for the permissions of the socket to say. Where p has a method StoreID() string, its answer is
// told to each client.
func ServePickup(ctx context.Context, l net.Listener, p store.Pickup, log zerolog.Logger) error {
	s := newPickupServer(p, log)
	return serveConns(ctx, l, s.log, s.session)
}

// request is one frame of the client's.
type request struct {
	kind    frameType
	content []byte
}

// queued is how many frames of a client are read before the first of them is looked at, each of up to maxRequest octets.
const queued = 4

// pickupSession is one connection of a POP3 daemon. One goroutine reads, so that the end of the connection is noticed
// whatever the other does, which answers and is the only one to write.
type pickupSession struct {
	*pickupServer
	wire *wire
	sid  string // the POP3 session
	in   chan request
	err  error // why in was closed
	done chan struct{}

	box      store.Maildrop
	lost     <-chan struct{} // nil once it was told
	deletion []byte          // what came of one
	parts    bool
	stop     bool // the client has closed the maildrop
}

func (s *pickupServer) session(ctx context.Context, c net.Conn) {
	defer c.Close()
	w, leave, err := s.welcome(c)
	defer leave()
	if err != nil {
		s.ended(ctx, err)
		return
	}
	stop := context.AfterFunc(ctx, func() { w.stopReading(time.Unix(1, 0)) })
	defer stop()
	p := &pickupSession{pickupServer: s, wire: w, in: make(chan request, queued), done: make(chan struct{})}
	s.ended(ctx, p.run(ctx))
}

// run serves the connection to its end.
func (p *pickupSession) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var reader sync.WaitGroup
	reader.Go(func() {
		defer cancel()
		p.read()
	})
	defer reader.Wait()
	defer p.wire.conn.Close()
	defer close(p.done)
	if err := p.open(ctx); err != nil {
		return err
	}
	defer p.box.Close()
	if err := p.list(p.box.Messages()); err != nil {
		return err
	}
	for !p.stop {
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// read takes frames off the connection until it ends.
func (p *pickupSession) read() {
	defer close(p.in)
	until := time.Now().Add(p.idle) // for the login; a maildrop is open as long as its connection, whom the daemon watches
	for {
		kind, content, err := p.wire.next(until, maxRequest)
		if err != nil {
			p.err = err
			return
		}
		select {
		case p.in <- request{kind, content}:
		case <-p.done:
			return
		}
		until = time.Time{}
	}
}

// next waits for the client's next frame. What came whole is returned also after the connection ended.
func (p *pickupSession) next() (request, error) {
	for {
		select {
		case <-p.lost:
			if err := p.tellLost(); err != nil {
				return request{}, err
			}
		case q, ok := <-p.in:
			if !ok {
				return q, p.err
			}
			return q, nil
		}
	}
}

func (p *pickupSession) tellLost() error {
	p.lost = nil
	return p.wire.send(appendFrame(nil, lostFrame, nil))
}

// open verifies the login and locks the maildrop.
func (p *pickupSession) open(ctx context.Context) error {
	q, err := p.next()
	if err != nil {
		return err
	}
	if q.kind == canaryFrame {
		if err := p.canary(ctx, q.content); err != nil {
			return err
		}
		return errRefused // nothing is open
	}
	login, exchange, ok := decodeLogin(q.content)
	if q.kind != openFrame || !ok {
		return errFrame
	}
	p.sid = login.Session
	if exchange {
		login.Exchange = p.exchange
	}
	box, err := p.pickup.Open(ctx, login)
	if err == nil && len(box.Messages()) > maxMessages {
		box.Close() //nolint:errcheck // it holds more than can be told
		err = errors.New("maildrop holds more messages than can be listed")
	}
	if err != nil {
		if err := p.fail("open", err); err != nil {
			return err
		}
		return errRefused
	}
	p.box, p.lost = box, box.Lost()
	return nil
}

// exchange carries one message of the store's to the client, and the client's next back.
func (p *pickupSession) exchange(ctx context.Context, server []byte) ([]byte, error) {
	if len(server) > maxRequest {
		return nil, errRequestSize
	}
	if err := p.wire.send(appendFrame(nil, stepFrame, server)); err != nil {
		return nil, err
	}
	select {
	case q, ok := <-p.in:
		if !ok || q.kind != stepFrame {
			p.wire.conn.Close()
			return nil, errFrame
		}
		return q.content, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// list sends the snapshot.
func (p *pickupSession) list(all []store.Message) error {
	out := appendFrame(make([]byte, 0, listChunk+256), answerFrame, binary.AppendUvarint(nil, uint64(len(all))))
	for len(all) > 0 {
		at := len(out)
		out = append(out, byte(listFrame), 0, 0, 0, 0)
		for len(all) > 0 && len(out)-at < listChunk-maxForeign-64 {
			out = appendMessage(out, &all[0])
			all = all[1:]
		}
		closeFrame(out, at, len(out)-at-headLength)
		if err := p.wire.send(out); err != nil {
			return err
		}
		out = out[:0]
	}
	if len(out) == 0 {
		return nil
	}
	return p.wire.send(out)
}

// step does what the client's next frame says.
func (p *pickupSession) step(ctx context.Context) error {
	q, err := p.next()
	if err != nil {
		return err
	}
	switch {
	case q.kind == partFrame && len(q.content) > 0:
		return p.part(q.content)
	case q.kind == endFrame && len(q.content) == 0 && p.parts:
		return p.commit(context.WithoutCancel(ctx)) // a QUIT that arrived commits
	case p.parts:
		return errFrame
	case q.kind == retrieveFrame:
		if r, ok := decodeRetrieval(q.content, len(p.box.Messages())); ok {
			return p.retrieve(ctx, r)
		}
	case q.kind == cancelFrame && len(q.content) == 0:
		return p.wire.send(appendFrame(nil, cancelFrame, nil))
	case q.kind == shutFrame && len(q.content) == 0:
		return p.shut()
	default:
		return p.aside(q)
	}
	return errFrame
}

// aside takes the frames that may come at any time: a credit may have crossed the end of what it was for.
func (p *pickupSession) aside(q request) error {
	switch {
	case q.kind == activeFrame && len(q.content) == 0:
		p.box.Active()
		return nil
	case q.kind == creditFrame:
		if _, ok := decodeCredit(q.content); ok {
			return nil
		}
	}
	return errFrame
}

func (p *pickupSession) part(content []byte) error {
	p.parts = true
	if len(p.deletion)+len(content) > maxDeletion(len(p.box.Messages())) {
		return errFrame
	}
	p.deletion = append(p.deletion, content...)
	return nil
}

func (p *pickupSession) commit(ctx context.Context) error {
	deleted, ok := decodeDeletion(p.deletion, len(p.box.Messages()))
	p.deletion, p.parts = nil, false
	if !ok {
		return errFrame
	}
	if err := p.box.Commit(ctx, deleted); err != nil {
		return p.fail("commit", err)
	}
	return p.wire.send(appendFrame(nil, answerFrame, nil))
}

// shut frees the lock before it answers, so that whoever has the answer may log in again.
func (p *pickupSession) shut() error {
	p.stop = true
	if err := p.box.Close(); err != nil {
		return p.fail("close", err)
	}
	return p.wire.send(appendFrame(nil, answerFrame, nil))
}

// fail tells the client the code of an error.
func (p *pickupSession) fail(what string, err error) error {
	return p.wire.send(appendFrame(nil, failureFrame, []byte(p.failed(what, p.sid, err))))
}
