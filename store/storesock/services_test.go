package storesock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

// box is a store.Deliverer and a store.Pickup of one maildrop, in memory. It stands for the store as far as a socket can
// tell them apart, and does what a test tells it to.
type box struct {
	mu        sync.Mutex
	next      byte
	messages  []string
	open      bool
	opened    int // how often
	discarded int
	active    int
	held      store.Login
	noted     []store.Refusal
	origin    store.Origin
	lost      chan struct{}

	resolveErr, beginErr, writeErr, commitErr, openErr error
	retrieve                                           func(i int) (io.ReadCloser, error) // nil: the message
	beforeWrite, beforeCommit                          func()                             // of a draft
	beforeOpen                                         func(ctx context.Context)
	beforeDelete                                       func()
}

const boxID = "b0x"

func (b *box) StoreID() string { return boxID }

func (b *box) Resolve(_ context.Context, a store.Attempt) (store.Target, error) {
	return store.Target{Maildrops: []store.MaildropID{7, 1 << 63}}, b.resolveErr
}

func (b *box) Begin(context.Context, store.Envelope) (store.Draft, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return &boxDraft{b: b, id: store.ID{15: b.next}}, b.beginErr
}

type boxDraft struct {
	b    *box
	id   store.ID
	body bytes.Buffer
}

func (d *boxDraft) ID() store.ID { return d.id }

func (d *boxDraft) Write(p []byte) (int, error) {
	if d.b.beforeWrite != nil {
		d.b.beforeWrite()
	}
	if d.b.writeErr != nil {
		return 0, d.b.writeErr
	}
	return d.body.Write(p)
}

func (d *boxDraft) Commit(_ context.Context, f store.Final) error {
	if d.b.beforeCommit != nil {
		d.b.beforeCommit()
	}
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	if d.b.commitErr == nil {
		d.b.messages = append(d.b.messages, string(f.Trace)+d.body.String())
		d.b.origin = f.Origin
	}
	return d.b.commitErr
}

func (d *boxDraft) Discard() {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	d.b.discarded++
}

func (b *box) Open(ctx context.Context, l store.Login) (store.Maildrop, error) {
	if b.beforeOpen != nil {
		b.beforeOpen(ctx)
	}
	b.mu.Lock()
	b.held = l
	err := b.openErr
	b.mu.Unlock()
	if l.Exchange != nil {
		for _, server := range [][]byte{nil, []byte("first"), []byte("final")} {
			client, err := l.Exchange(ctx, server)
			if err != nil {
				return nil, err
			}
			if string(client) != "to "+string(server) {
				return nil, store.ErrCredential
			}
		}
	} else if err == nil && l.Secret != "secret" {
		err = store.ErrCredential
	}
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		return nil, store.ErrInUse
	}
	b.open, b.lost = true, make(chan struct{})
	b.opened++
	m := &boxDrop{b: b, texts: b.messages}
	for i, text := range b.messages {
		m.list = append(m.list, store.Message{ID: store.ID{14: byte(i >> 8), 15: byte(i)}, Octets: int64(len(text))})
	}
	return m, nil
}

type boxDrop struct {
	b     *box
	texts []string
	list  []store.Message
}

func (m *boxDrop) Messages() []store.Message { return m.list }
func (m *boxDrop) Lost() <-chan struct{}     { return m.b.lost }

func (m *boxDrop) Active() {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	m.b.active++
}

func (m *boxDrop) Retrieve(_ context.Context, i int) (io.ReadCloser, error) {
	if m.b.retrieve != nil {
		return m.b.retrieve(i)
	}
	return io.NopCloser(iotest.DataErrReader(strings.NewReader(m.texts[i]))), nil
}

func (m *boxDrop) Commit(_ context.Context, deleted []int) error {
	if m.b.beforeDelete != nil {
		m.b.beforeDelete()
	}
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	if m.b.commitErr == nil {
		m.b.messages = m.b.messages[len(deleted):]
	}
	return m.b.commitErr
}

func (m *boxDrop) Close() error {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	m.b.open = false
	return nil
}

// see returns what get returns, with the box at rest.
func see[T any](b *box, get func() T) T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return get()
}

func (b *box) count() int     { return see(b, func() int { return len(b.messages) }) }
func (b *box) isLocked() bool { return see(b, func() bool { return b.open }) }

// services is a box behind its sockets.
type services struct {
	deliver, pickup string
	d               *deliverServer
	p               *pickupServer
	stop            func()
	wrap            func(net.Listener) net.Listener // the deliver socket's, where not nil
}

func startServices(t testing.TB, b *box) *services {
	t.Helper()
	dir := t.TempDir()
	s := &services{
		deliver: filepath.Join(dir, "deliver"), pickup: filepath.Join(dir, "pickup"),
		d: newDeliverServer(b, zerolog.Nop()), p: newPickupServer(b, zerolog.Nop()),
	}
	s.start(t)
	return s
}

func (s *services) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for path, session := range map[string]func(context.Context, net.Conn){s.deliver: s.d.session, s.pickup: s.p.session} {
		l, err := ListenUnix(path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if path == s.deliver && s.wrap != nil {
			l = s.wrap(l)
		}
		running.Go(func() {
			if err := serveConns(ctx, l, zerolog.Nop(), session); err != nil {
				t.Errorf("the service ended with %v", err)
			}
		})
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(s.stop)
}

func (s *services) deliverer(t testing.TB) *Deliverer {
	d := NewDeliverer(s.deliver)
	t.Cleanup(func() { d.Close() })
	return d
}

func final() store.Final {
	return store.Final{Trace: []byte("T: t\r\n"), Recipients: []store.Recipient{{Maildrop: 7, Prefix: []byte("P: p\r\n")}}}
}

func begin(t testing.TB, d *Deliverer) store.Draft {
	t.Helper()
	draft, err := d.Begin(t.Context(), store.Envelope{Session: "s", From: "a@b", Declared: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(draft.Discard)
	return draft
}

func secretLogin() store.Login {
	return store.Login{Session: "p", Mechanism: "USER", Name: "me", Secret: "secret"}
}

func openBox(t testing.TB, s *services) *maildrop {
	t.Helper()
	m, err := NewPickup(s.pickup).Open(t.Context(), secretLogin())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m.(*maildrop)
}

// patience bounds every wait for something that must happen. It is long, since a test machine may be busy.
const patience = 20 * time.Second

// soon waits until is tells true.
func soon(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s takes more than %s", what, patience)
		}
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
