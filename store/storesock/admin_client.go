package storesock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"syscall"
	"time"

	"example.org/letterbox/store"
)

// clientStall is how long the client waits for the next frame of an answer that has begun.
const clientStall = 30 * time.Second

// AdminClient is a store.Admin at the other end of a socket. Its methods may be called by any number of goroutines; the
// calls run one after the other.
type AdminClient struct {
	storeID string
	tells   bool // the owner can say how far it is

	mu     sync.Mutex
	wire   *wire
	broken error // why the connection can't be used any more
}

var _ store.Admin = (*AdminClient)(nil)

// DialAdmin connects to the owner that listens at path. It fails with ErrNoOwner when nobody listens there, ErrDenied when
// this user may not, ErrPathTooLong, and a *ProtocolError when the owner is of another version.
func DialAdmin(ctx context.Context, path string) (*AdminClient, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w at %s", ErrNoOwner, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: %s", ErrDenied, path)
	case err != nil:
		return nil, fmt.Errorf("%w: can't reach the store's process at %s: %w", store.ErrUnavailable, path, reason(err))
	}
	a, err := newAdminClient(ctx, c)
	if err != nil {
		c.Close()
		return nil, err
	}
	return a, nil
}

// newAdminClient exchanges hellos on c.
func newAdminClient(ctx context.Context, c net.Conn) (*AdminClient, error) {
	stop := breakOff(ctx, c)
	defer stop()
	w := newWire(c, clientStall)
	// The server may refuse us and hang up without reading: what it said before counts, not that our hello got lost.
	sent := w.greet(hello{Service: adminService})
	h, err := w.greeting(adminService)
	if err == nil {
		err = sent
	}
	if err != nil {
		return nil, transport(ctx, err)
	}
	return &AdminClient{storeID: h.Store, tells: h.Progress, wire: w}, nil
}

// breakOff makes every read and write of c fail once ctx ends.
func breakOff(ctx context.Context, c net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.Close() })
}

// transport names an error of the connection: the context's own, one of ours, or store.ErrUnavailable.
func transport(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, ErrDenied):
		return err
	}
	return fmt.Errorf("%w: the connection to its process broke: %w", store.ErrUnavailable, reason(err))
}

// StoreID is the id of the store at the other end, empty when the owner did not say.
func (a *AdminClient) StoreID() string { return a.storeID }

// Directory returns everything that Apply can change.
func (a *AdminClient) Directory(ctx context.Context) (store.Directory, error) {
	answer, err := a.call(ctx, adminRequest{Op: opDirectory})
	if err != nil || answer.Directory == nil {
		return store.Directory{}, orEmpty(err)
	}
	return *answer.Directory, nil
}

// Apply makes all edits durable or none, as store.Admin says. When the connection breaks before the answer, the outcome is
// unknown and the error is store.ErrUnavailable.
func (a *AdminClient) Apply(ctx context.Context, revision uint64, edits []store.Edit) (uint64, error) {
	answer, err := a.call(ctx, adminRequest{Op: opApply, Revision: revision, Edits: edits})
	return answer.Revision, err
}

// Figures returns the store's counters.
func (a *AdminClient) Figures(ctx context.Context) (store.Stats, error) {
	answer, err := a.call(ctx, adminRequest{Op: opFigures})
	if err != nil || answer.Figures == nil {
		return store.Stats{}, orEmpty(err)
	}
	return *answer.Figures, nil
}

// Verify reads the whole store, as store.Admin says; it takes as long as that takes.
func (a *AdminClient) Verify(ctx context.Context) (store.Verification, error) {
	answer, err := a.watched(ctx, adminRequest{Op: opVerify})
	if err != nil || answer.Verification == nil {
		return store.Verification{}, orEmpty(err)
	}
	return *answer.Verification, nil
}

// Undelete files deleted mail again, as store.Admin says.
func (a *AdminClient) Undelete(ctx context.Context, address string, since time.Time) (int, error) {
	answer, err := a.watched(ctx, adminRequest{Op: opUndelete, Address: address, Since: since})
	return answer.Count, err
}

// Backup writes everything that waits to w, as store.Admin says.
func (a *AdminClient) Backup(ctx context.Context, w io.Writer) (store.BackupReport, error) {
	answer, err := a.stream(ctx, adminRequest{Op: opBackup}, nil, w)
	if err != nil || answer.Backup == nil {
		return store.BackupReport{}, orEmpty(err)
	}
	return *answer.Backup, nil
}

// Canary lets the owner do a round of its canary.
func (a *AdminClient) Canary(ctx context.Context) (store.Round, error) {
	answer, err := a.call(ctx, adminRequest{Op: opCanary})
	if err != nil || answer.Round == nil {
		return store.Round{}, orEmpty(err)
	}
	return *answer.Round, nil
}

// Trace asks the history, as store.Admin says.
func (a *AdminClient) Trace(ctx context.Context, q store.Query) (store.Traced, error) {
	answer, err := a.call(ctx, adminRequest{Op: opTrace, Query: &q})
	if err != nil || answer.Traced == nil {
		return store.Traced{}, orEmpty(err)
	}
	return *answer.Traced, nil
}

// Mail lists what waits for an account.
func (a *AdminClient) Mail(ctx context.Context, address string) ([]store.Message, error) {
	answer, err := a.call(ctx, adminRequest{Op: opMail, Address: address})
	return answer.Messages, err
}

// Copy writes one message to w.
func (a *AdminClient) Copy(ctx context.Context, address string, id store.ID, w io.Writer) error {
	_, err := a.stream(ctx, adminRequest{Op: opCopy, Address: address, Message: id}, nil, w)
	return err
}

// Import files a message. When the connection breaks before the answer, the outcome is unknown and the error is
// store.ErrUnavailable.
func (a *AdminClient) Import(ctx context.Context, address, uidl string, body io.Reader) (store.ID, error) {
	answer, err := a.stream(ctx, adminRequest{Op: opImport, Address: address, UIDL: uidl}, body, nil)
	return answer.ID, err
}

// orEmpty is the error of an answer that holds nothing.
func orEmpty(err error) error {
	if err == nil {
		err = fmt.Errorf("%w: its process gave an empty answer", store.ErrUnavailable)
	}
	return err
}

// call sends q and waits for its answer as long as ctx allows. After an error of the connection the client is of no more
// use.
func (a *AdminClient) call(ctx context.Context, q adminRequest) (adminAnswer, error) {
	return a.stream(ctx, q, nil, nil)
}

// watched is call for what takes long: ctx says who is told how far it is.
func (a *AdminClient) watched(ctx context.Context, q adminRequest) (adminAnswer, error) {
	if q.Progress = a.asksProgress(ctx); !q.Progress {
		return a.call(ctx, q)
	}
	tell, _ := store.ProgressOf(ctx)
	return a.stream(ctx, q, nil, progressReader{tell})
}

// stream is call for a request that in is sent behind, or whose answer comes behind what out is given.
func (a *AdminClient) stream(ctx context.Context, q adminRequest, in io.Reader, out io.Writer) (adminAnswer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return adminAnswer{}, err
	}
	if a.broken != nil {
		return adminAnswer{}, a.broken
	}
	stop := breakOff(ctx, a.wire.conn)
	defer stop()
	answer, err := a.exchange(q, in, out)
	if errors.Is(err, errTooMuch) {
		return adminAnswer{}, err
	}
	if err != nil {
		a.wire.conn.Close()
		if own := (*outputError)(nil); errors.As(err, &own) {
			err = own.cause
		} else {
			err = transport(ctx, err)
		}
		a.broken = fmt.Errorf("%w: the connection to its process broke before", store.ErrUnavailable)
		return adminAnswer{}, err
	}
	return answer, decodeError(answer.Failure)
}

// errTooMuch is a request that was never sent.
var errTooMuch = fmt.Errorf("these changes are %w: make them in smaller steps", errMessageSize)

func (a *AdminClient) exchange(q adminRequest, in io.Reader, out io.Writer) (adminAnswer, error) {
	var answer adminAnswer
	if err := a.wire.writeMessage(q); errors.Is(err, errMessageSize) {
		return answer, errTooMuch
	} else if err != nil {
		return answer, err
	}
	if in != nil {
		if err := a.send(in); err != nil {
			return answer, err
		}
	}
	if err := a.wire.conn.SetReadDeadline(time.Time{}); err != nil { // the work takes as long as ctx allows
		return answer, err
	}
	stall := a.wire.stall
	if q.Progress { // which may pause
		stall = 0
	}
	return answer, a.wire.readAnswer(out, stall, &answer)
}

// send streams what in holds, and the end.
func (a *AdminClient) send(in io.Reader) error {
	buf := make([]byte, maxFrame)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if err := a.wire.writeOne(streamFrame, buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &outputError{err}
		}
	}
	if err := a.wire.writeOne(endFrame, nil); err != nil {
		return err
	}
	return a.wire.w.Flush()
}

// Close ends the connection. It is idempotent.
func (a *AdminClient) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken == nil {
		a.broken = fmt.Errorf("%w: the connection to its process is closed", store.ErrUnavailable)
		return a.wire.conn.Close()
	}
	return nil
}
