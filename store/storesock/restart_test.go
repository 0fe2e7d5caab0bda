package storesock_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
	"example.org/letterbox/store/storesock"
)

// cutAnswer is an owner's store whose connections are cut in place of the answer to a commit.
type cutAnswer struct {
	store.Deliverer
	cut   func() // called when the message is durable
	known func(ctx context.Context, id store.ID) (bool, error)
}

func (c cutAnswer) Begin(ctx context.Context, e store.Envelope) (store.Draft, error) {
	d, err := c.Deliverer.Begin(ctx, e)
	return cutDraft{d, c.cut}, err
}

func (c cutAnswer) Committed(ctx context.Context, id store.ID) (bool, error) { return c.known(ctx, id) }

type cutDraft struct {
	store.Draft
	cut func()
}

func (d cutDraft) Commit(ctx context.Context, f store.Final) error {
	err := d.Draft.Commit(ctx, f)
	d.cut()
	return err
}

// track closes all connections of a listener.
type track struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *track) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
	}
	return c, err
}

func (l *track) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// TestLostAnswerAfterRestart: the owner's service dies between the commit and its answer; the one that takes its place looks
// the message up in the store. It is there once, and the client says so.
func TestLostAnswerAfterRestart(t *testing.T) {
	s := withAccounts(t)
	s.stop()
	path := s.path("deliver")
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	start := func(l net.Listener, d store.Deliverer) {
		running.Go(func() {
			if err := storesock.ServeDeliver(ctx, l, d, zerolog.Nop()); err != nil {
				t.Error(err)
			}
		})
	}
	listen := func() *track {
		l, err := storesock.ListenUnix(path, 0o600)
		if err != nil {
			t.Error(err)
		}
		return &track{Listener: l}
	}
	first := listen()
	var asked atomic.Int64
	owner := cutAnswer{s.owner, func() {}, func(ctx context.Context, id store.ID) (bool, error) {
		asked.Add(1)
		return s.owner.Committed(ctx, id)
	}}
	restart := owner
	restart.cut = func() {
		first.Close()
		start(listen(), owner)
		first.cut()
	}
	start(first, restart)
	d := storesock.NewDeliverer(path)
	defer d.Close()
	if _, err := deliver(t.Context(), d, me, []byte("a: b\r\n\r\n")); err != nil {
		t.Error(err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the store was asked %d times", n)
	}
	m := open(t, s.owner, me)
	if n := len(m.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// TestMailOnDisk goes the whole way over the sockets: in small and large, out again octet for octet, and deleted.
func TestMailOnDisk(t *testing.T) {
	s := withAccounts(t)
	bodies := []string{"a: b\r\n\r\n", strings.Repeat("0123456789\r\n", 7000), strings.Repeat("0123456789\r\n", 500_000)}
	for _, body := range bodies {
		if _, err := deliver(t.Context(), s.Deliverer, me, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, s.Pickup, me)
	for i, body := range bodies {
		r, err := m.Retrieve(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || int64(len(text)) != m.Messages()[i].Octets || !strings.HasSuffix(string(text), "from a by b\r\n"+body) {
			t.Errorf("message %d: %d octets, %v", i, len(text), err)
		}
		r.Close()
	}
	if _, err := login(t.Context(), s.Pickup, me); !errors.Is(err, store.ErrInUse) {
		t.Errorf("a second login: %v", err)
	}
	if err := m.Commit(t.Context(), []int{2, 0}); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if n := len(open(t, s.Pickup, me).Messages()); n != 1 {
		t.Errorf("%d messages are left", n)
	}
}

// TestOwnerStops: the maildrops that are open are lost at once, and nothing of them is deleted.
func TestOwnerStops(t *testing.T) {
	s := withAccounts(t)
	if _, err := deliver(t.Context(), s.Deliverer, me, []byte("a: b\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	m := open(t, s.Pickup, me)
	s.stop()
	within(t, "noticing", m.Lost())
	if err := m.Commit(t.Context(), []int{0}); err == nil {
		t.Error("deleted")
	}
	if n := len(open(t, s.owner, me).Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}
