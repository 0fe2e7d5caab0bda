package storesock_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/storesock"
)

// TestCanary takes the canary's message through the sockets, and asks both for its connections.
func TestCanary(t *testing.T) {
	const address, secret = "0a1b2c@canary.invalid", "secret"
	s := withAccounts(t)
	s.owner.SetCanary(address, secret)
	loopback := netip.MustParseAddr("127.0.0.1")
	target, err := s.Resolve(t.Context(), store.Attempt{Session: "s", Peer: loopback, To: address})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Begin(t.Context(), store.Envelope{Session: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, "body\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), store.Final{Recipients: []store.Recipient{{Maildrop: target.Maildrops[0]}}}); err != nil {
		t.Fatal(err)
	}
	m, err := s.Open(t.Context(), store.Login{Peer: loopback, Name: address, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if len(m.Messages()) != 1 || m.Messages()[0].ID != d.ID() {
		t.Fatalf("%v", m.Messages())
	}
	r, err := m.Retrieve(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(r); err != nil || string(body) != "body\r\n" {
		t.Errorf("%q %v", body, err)
	}
	if err := errors.Join(r.Close(), m.Commit(t.Context(), []int{0})); err != nil {
		t.Error(err)
	}

	from := netip.AddrPortFrom(loopback, 4000)
	for _, want := range []bool{false, true} {
		for name, watch := range map[string]store.CanaryWatch{"deliver": s.Deliverer, "pickup": s.Pickup} {
			if is, err := watch.IsCanary(t.Context(), from); is != want || err != nil {
				t.Errorf("%s: %t %v, want %t", name, is, err, want)
			}
		}
		s.owner.CanaryFrom(from)
	}
	if is, err := s.Deliverer.IsCanary(t.Context(), netip.AddrPortFrom(loopback, 4001)); is || err != nil {
		t.Errorf("another port: %t %v", is, err)
	}
}

// withRounds is an owner that does rounds of a canary.
type withRounds struct {
	*boltstore.Store
	round store.Round
	err   error
}

func (w *withRounds) Canary(context.Context) (store.Round, error) { return w.round, w.err }

// TestCanaryByHand asks an owner for a round: what it says comes over, and one that has no canary says so.
func TestCanaryByHand(t *testing.T) {
	s := withAccounts(t)
	if _, err := s.Canary(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an owner without one: %v", err)
	}
	w := &withRounds{Store: s.owner, round: store.Round{Step: "login", Text: "why", Took: 5}}
	path := filepath.Join(t.TempDir(), "admin")
	l, err := storesock.ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- storesock.ServeAdmin(ctx, l, w, zerolog.Nop()) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	client, err := storesock.DialAdmin(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if round, err := client.Canary(t.Context()); err != nil || round != w.round {
		t.Errorf("%+v %v", round, err)
	}
	w.err = errors.New("no way to go")
	if _, err := client.Canary(t.Context()); err == nil || !strings.Contains(err.Error(), "no way to go") {
		t.Errorf("%v", err)
	}
}
