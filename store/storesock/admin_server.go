package storesock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

const (
	maxAdmins   = 32               // connections at once
	adminIdle   = time.Minute      // between two requests
	serverStall = 30 * time.Second // for one frame of a message under way
)

// adminServer is the owner's side of the admin service.
type adminServer struct {
	admin store.Admin
	id    string
	log   zerolog.Logger
	allow func(peer) bool
	slots chan struct{}
	idle  time.Duration
	limit int // octets of a message
}

// ServeAdmin answers on l for a, until ctx ends or l is closed: then it closes l, lets the requests under way finish, and
// returns nil. Only root, this process's user and its group are served. Where a has a method StoreID() string, its answer is
// told to each client; where it has Canary(context.Context) (store.Round, error), that does a round of the canary.
func ServeAdmin(ctx context.Context, l net.Listener, a store.Admin, log zerolog.Logger) error {
	s := &adminServer{
		admin: a, log: log.With().Str("listener", adminService).Logger(),
		allow: mayAdminister, slots: make(chan struct{}, maxAdmins), idle: adminIdle, limit: maxMessage,
	}
	if named, ok := a.(interface{ StoreID() string }); ok {
		s.id = named.StoreID()
	}
	return s.serve(ctx, l)
}

func (s *adminServer) serve(ctx context.Context, l net.Listener) error {
	return serveConns(ctx, l, s.log, s.session)
}

// session is one connection from its hello to its end.
func (s *adminServer) session(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	w := newWire(c, serverStall)
	w.limit = s.limit
	refused, leave := s.admit(c)
	defer leave()
	if err := w.greet(hello{Service: adminService, Store: s.id, Progress: true, Refused: refused}); err != nil || refused != "" {
		return
	}
	_, err := w.greeting(adminService)
	for err == nil {
		err = s.exchange(ctx, w)
	}
	if !errors.Is(err, io.EOF) && ctx.Err() == nil {
		s.log.Warn().Str("reason", err.Error()).Msg("admin connection broken off")
	}
}

// admit says why c is refused, if it is; leave gives its place back.
func (s *adminServer) admit(c net.Conn) (refused string, leave func()) {
	p, err := peerOf(c)
	if err != nil || !s.allow(p) {
		s.log.Warn().Err(err).Str("remote", fmt.Sprintf("uid %d", p.uid)).Msg("admin connection refused")
		return refusedUser, func() {}
	}
	select {
	case s.slots <- struct{}{}:
		return "", func() { <-s.slots }
	default:
		return refusedBusy, func() {}
	}
}

// exchange reads one request and answers it.
func (s *adminServer) exchange(ctx context.Context, w *wire) error {
	if err := w.conn.SetReadDeadline(time.Now().Add(s.idle)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // its deadline may have been set before ours
		return err
	}
	message, err := w.readMessage()
	if err != nil {
		return err
	}
	var q adminRequest
	if err := decodeRequest(message, &q); err != nil {
		return err
	}
	// What is read to its end is done and answered, also while the process stops and when the client is gone; but looking
	// at the whole store takes too long for that.
	unwatch := func() bool { return false }
	var answer adminAnswer
	switch q.Op {
	case opBackup, opCopy, opImport: // the stream itself shows whether the client is there
		if answer, err = s.streamed(ctx, w, q); err != nil {
			return err
		}
	case opVerify:
		ctx, unwatch = w.whileThere(ctx)
		answer = s.answer(w.tellProgress(ctx, &q), q)
	default:
		answer = s.answer(w.tellProgress(context.WithoutCancel(ctx), &q), q)
	}
	if unwatch() {
		return io.EOF // and nobody to answer
	}
	err = w.writeMessage(answer)
	if errors.Is(err, errMessageSize) {
		err = w.writeMessage(adminAnswer{Failure: encodeError(err)})
	}
	return err
}

// whileThere returns a context that ends with ctx, or when the other side hangs up. Nobody else may read meanwhile. stop must
// follow; it tells whether the other side is gone. What came from it in the meantime is left for the next read.
func (c *wire) whileThere(ctx context.Context) (_ context.Context, stop func() (gone bool)) {
	ctx, cancel := context.WithCancel(ctx)
	c.conn.SetReadDeadline(time.Time{}) //nolint:errcheck // the read fails then, too
	ended := make(chan error, 1)
	go func() {
		_, err := c.r.Peek(1)
		if err != nil {
			cancel()
		}
		ended <- err
	}()
	return ctx, func() bool {
		c.conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // it fails on a closed connection, whose read has ended
		err := <-ended
		cancel()
		return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	}
}

// decodeRequest refuses fields that it does not know: an edit that is understood in part would do something else than it
// says.
func decodeRequest(message []byte, q *adminRequest) error {
	d := json.NewDecoder(bytes.NewReader(message))
	d.DisallowUnknownFields()
	if d.Decode(q) != nil {
		return errFrame
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errFrame
	}
	return nil
}

// streamed answers a request with a stream before or behind it.
func (s *adminServer) streamed(ctx context.Context, w *wire, q adminRequest) (adminAnswer, error) {
	switch q.Op {
	case opBackup:
		report, err := s.admin.Backup(ctx, streamWriter{w})
		return adminAnswer{Failure: encodeError(err), Backup: &report}, nil
	case opCopy:
		return adminAnswer{Failure: encodeError(s.admin.Copy(ctx, q.Address, q.Message, streamWriter{w}))}, nil
	}
	body := &streamReader{w: w}
	id, err := s.admin.Import(context.WithoutCancel(ctx), q.Address, q.UIDL, body)
	return adminAnswer{Failure: encodeError(err), ID: id}, body.drain()
}

func (s *adminServer) answer(ctx context.Context, q adminRequest) adminAnswer {
	switch q.Op {
	case opDirectory:
		d, err := s.admin.Directory(ctx)
		if err != nil {
			return adminAnswer{Failure: encodeError(err)}
		}
		return adminAnswer{Directory: &d, Revision: d.Revision}
	case opApply:
		revision, err := s.admin.Apply(ctx, q.Revision, q.Edits)
		return adminAnswer{Failure: encodeError(err), Revision: revision}
	case opFigures:
		figures, err := s.admin.Figures(ctx)
		return adminAnswer{Failure: encodeError(err), Figures: &figures}
	case opVerify:
		v, err := s.admin.Verify(ctx)
		return adminAnswer{Failure: encodeError(err), Verification: &v}
	case opUndelete:
		n, err := s.admin.Undelete(ctx, q.Address, q.Since)
		return adminAnswer{Failure: encodeError(err), Count: n}
	case opMail:
		messages, err := s.admin.Mail(ctx, q.Address)
		return adminAnswer{Failure: encodeError(err), Messages: messages}
	case opCanary:
		if of, ok := s.admin.(interface {
			Canary(ctx context.Context) (store.Round, error)
		}); ok {
			round, err := of.Canary(ctx)
			return adminAnswer{Failure: encodeError(err), Round: &round}
		}
	case opTrace:
		if q.Query == nil {
			q.Query = &store.Query{}
		}
		traced, err := s.admin.Trace(ctx, *q.Query)
		return adminAnswer{Failure: encodeError(err), Traced: &traced}
	}
	return adminAnswer{Failure: &failure{Code: codeUnsupported, Text: "the store's process does not know this request: is it older?"}}
}
