package storesock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// TestPickupCodecs: what is sent is what comes, and every truncation of it is refused.
func TestPickupCodecs(t *testing.T) {
	l := store.Login{
		Session: "p", Peer: netip.MustParseAddr("192.0.2.1"), TLS: true, Proxied: true, Mechanism: "PLAIN", Name: "a@b", Secret: "s ", Binding: []byte{1, 2},
	}
	m := store.Message{ID: store.ID{1, 15: 9}, Octets: math.MaxInt64, Foreign: strings.Repeat("~", maxForeign)}
	deletion, err := encodeDeletion([]int{9, 0, 4}, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		b      []byte
		decode func([]byte) (any, bool)
		want   any
	}{
		{"login", loginFrame(l)[headLength:], func(b []byte) (any, bool) { v, _, ok := decodeLogin(b); return v, ok }, l},
		{"message", appendMessage(nil, &m), func(b []byte) (any, bool) { v, ok := decodeMessages(nil, b, 1); return v, ok }, []store.Message{m}},
		{"retrieval", retrieval{3, 2, window}.frame()[headLength:], func(b []byte) (any, bool) { v, ok := decodeRetrieval(b, 5); return v, ok }, retrieval{3, 2, window}},
		{"credit", appendCredit(nil, 300)[headLength:], func(b []byte) (any, bool) { v, ok := decodeCredit(b); return v, ok }, int64(300)},
		{"deletion", deletion, func(b []byte) (any, bool) { v, ok := decodeDeletion(b, 10); return v, ok }, []int{0, 4, 9}},
	} {
		if got, ok := c.decode(c.b); !ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v", c.name, got, ok)
		}
		for n := range c.b {
			if got, ok := c.decode(c.b[:n]); ok {
				t.Errorf("%s: the first %d of %d octets were taken as %+v", c.name, n, len(c.b), got)
			}
		}
		if _, ok := c.decode(append(c.b[:len(c.b):len(c.b)], 0)); ok {
			t.Errorf("%s: an octet too many was taken", c.name)
		}
	}
	if _, ok := decodeRetrieval(retrieval{3, 2, 1}.frame()[headLength:], 4); ok {
		t.Error("a message behind the last can be asked for")
	}
	if _, ok := decodeDeletion(deletion, 9); ok {
		t.Error("a message behind the last can be deleted")
	}
	if _, ok := decodeMessages(nil, appendMessage(nil, &store.Message{Foreign: "a b"}), 1); ok {
		t.Error("a UIDL with a space is taken")
	}
}

// TestExchange: each step of a login without a secret goes to the client and back; the owner's word ends it, and so does an
// error of the client's.
func TestExchange(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	p := NewPickup(s.pickup)
	var heard []string
	l := store.Login{Session: "p", Mechanism: "SCRAM-SHA-256-PLUS", Binding: []byte{7}}
	l.Exchange = func(_ context.Context, server []byte) ([]byte, error) {
		if server == nil {
			heard = append(heard, "nil")
		}
		heard = append(heard, string(server))
		return []byte("to " + string(server)), nil
	}
	m, err := p.Open(t.Context(), l)
	if err != nil || strings.Join(heard, ",") != "nil,,first,final" {
		t.Fatalf("%v, heard %q", err, heard)
	}
	m.Close()
	if held := see(b, func() store.Login { return b.held }); !bytes.Equal(held.Binding, l.Binding) || held.Mechanism != l.Mechanism {
		t.Errorf("%+v", held)
	}
	l.Exchange = func(_ context.Context, server []byte) ([]byte, error) { return []byte("wrong"), nil }
	_, err = p.Open(t.Context(), l)
	wantErr(t, "a wrong answer", err, store.ErrCredential)
	cancelled := errors.New("the client sent *")
	l.Exchange = func(_ context.Context, server []byte) ([]byte, error) {
		if server != nil {
			return nil, cancelled
		}
		return []byte("to "), nil
	}
	if _, err := p.Open(t.Context(), l); err != cancelled {
		t.Errorf("the client's error came as %v", err)
	}
	if b.isLocked() {
		t.Error("locked")
	}
}

// TestOpenErrors: an error comes as itself and nothing stays locked.
func TestOpenErrors(t *testing.T) {
	b := &box{}
	s := startServices(t, b)
	p := NewPickup(s.pickup)
	for _, n := range names() {
		b.openErr = n.err
		_, err := p.Open(t.Context(), secretLogin())
		wantErr(t, "open", err, n.err)
	}
	long := secretLogin()
	long.Secret = strings.Repeat("x", maxRequest)
	if _, err := p.Open(t.Context(), long); err == nil || !store.Temporary(err) {
		t.Errorf("too long: %v", err)
	}
}

// TestLockEndsWithConnection: however the connection closes, the lock is gone in a second: idle, while a message is sent
// that nobody reads, and while the owner still opens.
func TestLockEndsWithConnection(t *testing.T) {
	b := &box{messages: []string{strings.Repeat("x", 5<<20), "y"}}
	s := startServices(t, b)
	m := openBox(t, s)
	m.wire.conn.Close()
	soon(t, "freeing an idle maildrop", func() bool { return !b.isLocked() })
	soon(t, "noticing", func() bool { return isClosed(m.Lost()) })
	wantErr(t, "commit", m.Commit(t.Context(), []int{0}), store.ErrUnavailable)

	m = openBox(t, s)
	if _, err := m.Retrieve(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	m.wire.conn.Close()
	soon(t, "freeing it in the middle of a message", func() bool { return !b.isLocked() })

	entered := make(chan struct{})
	b.beforeOpen = func(ctx context.Context) { close(entered); <-ctx.Done() }
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := NewPickup(s.pickup).Open(ctx, secretLogin())
		result <- err
	}()
	<-entered
	cancel()
	wantErr(t, "open", <-result, context.Canceled)
	soon(t, "freeing it after a login that nobody waits for", func() bool {
		return see(b, func() int { return b.opened }) == 3 && !b.isLocked()
	})
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// TestQuitThatArrivedCommits, also when its connection is cut behind it.
func TestQuitThatArrivedCommits(t *testing.T) {
	b := &box{messages: []string{"1", "2", "3"}}
	s := startServices(t, b)
	entered, goOn := make(chan struct{}), make(chan struct{})
	b.beforeDelete = func() { close(entered); <-goOn }
	deletion, _ := encodeDeletion([]int{0, 2}, 3)
	c := rawDial(t, s.pickup)
	c.Write(bytes.Join([][]byte{helloFor(pickupService), loginFrame(secretLogin()), appendParts(nil, deletion, 1)}, nil)) //nolint:errcheck // what it did is asked below
	<-entered
	c.Close()
	close(goOn)
	soon(t, "the end", func() bool { return !b.isLocked() })
	if b.count() != 1 {
		t.Errorf("%d messages are left", b.count())
	}
	// Half a deletion is none.
	b.beforeDelete = nil
	c = rawDial(t, s.pickup)
	c.Write(bytes.Join([][]byte{helloFor(pickupService), loginFrame(secretLogin()), frame(partFrame, "\x01")}, nil)) //nolint:errcheck // as above
	soon(t, "the login", func() bool { return see(b, func() int { return b.opened }) == 2 })
	c.Close()
	soon(t, "the end", func() bool { return !b.isLocked() })
	if b.count() != 1 {
		t.Error("half a deletion was carried out")
	}
}

// TestLostIsTold at once, also in the middle of a message.
func TestLostIsTold(t *testing.T) {
	b := &box{messages: []string{strings.Repeat("x", 3*window)}}
	m := openBox(t, startServices(t, b))
	if _, err := m.Retrieve(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	close(b.lost)
	select {
	case <-m.Lost():
	case <-time.After(patience):
		t.Fatal("not told")
	}
	wantErr(t, "commit", m.Commit(t.Context(), []int{0}), store.ErrLost)
}

// TestActive reaches the owner, and not more often than once a second.
func TestActive(t *testing.T) {
	b := &box{messages: []string{"x"}}
	m := openBox(t, startServices(t, b))
	began := time.Now()
	for range 1000 {
		m.Active()
	}
	most := 1 + int(time.Since(began)/time.Second)
	if err := m.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := see(b, func() int { return b.active }); n < 1 || n > most {
		t.Errorf("told %d times, want 1 to %d", n, most)
	}
}

// TestPickupStop closes every maildrop, but a deletion that is under way is finished and answered.
func TestPickupStop(t *testing.T) {
	b := &box{messages: []string{"1", "2"}}
	entered, goOn := make(chan struct{}), make(chan struct{})
	b.beforeDelete = func() { close(entered); <-goOn }
	s := startServices(t, b)
	m := openBox(t, s)
	result := make(chan error, 1)
	go func() { result <- m.Commit(context.Background(), []int{0}) }()
	<-entered
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	soon(t, "the end of listening", func() bool { return NewPickup(s.pickup).Ping(t.Context()) != nil })
	close(goOn)
	if err := <-result; err != nil || b.count() != 1 {
		t.Errorf("%v, %d messages", err, b.count())
	}
	select {
	case <-m.Lost():
	case <-time.After(patience):
		t.Error("the maildrop is not lost")
	}
	<-stopped
	if b.isLocked() {
		t.Error("still locked")
	}
}

// TestCloseBreaksOff what is under way.
func TestCloseBreaksOff(t *testing.T) {
	b := &box{messages: []string{strings.Repeat("x", 3*window)}}
	goOn := make(chan struct{})
	b.retrieve = func(i int) (io.ReadCloser, error) { <-goOn; return nil, store.ErrUnavailable }
	m := openBox(t, startServices(t, b))
	result := make(chan error, 1)
	go func() {
		_, err := m.Retrieve(context.Background(), 0)
		result <- err
	}()
	soon(t, "the request", func() bool { return see(b, func() int { return b.active }) == 1 })
	m.Close()
	if err := <-result; err == nil {
		t.Error("retrieved")
	}
	close(goOn)
	soon(t, "freeing", func() bool { return !b.isLocked() })
	wantErr(t, "retrieve", retrieveErr(m), store.ErrLost)
}

func retrieveErr(m store.Maildrop) error {
	_, err := m.Retrieve(context.Background(), 0)
	return err
}

// TestLargeSnapshot: 100,000 messages are listed and deleted.
func TestLargeSnapshot(t *testing.T) {
	b := &box{messages: make([]string, 100_000)}
	m := openBox(t, startServices(t, b))
	all := make([]int, len(m.Messages()))
	for i := range all {
		all[i] = i
		if want := (store.ID{14: byte(i >> 8), 15: byte(i)}); m.Messages()[i].ID != want {
			t.Fatalf("message %d is %v", i, m.Messages()[i])
		}
	}
	if err := m.Commit(t.Context(), all); err != nil || len(all) != 100_000 || b.count() != 0 {
		t.Errorf("%d of %d are left: %v", b.count(), len(all), err)
	}
}
