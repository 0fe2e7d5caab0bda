package storesock_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/argon2"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/storesock"
	"example.org/letterbox/store/storetest"
)

// sockets is a store behind its three sockets, as the daemons and the commands see it.
type sockets struct {
	*storesock.Deliverer
	*storesock.Pickup
	*storesock.AdminClient

	owner *boltstore.Store
	dir   string // of the store
	run   string // of the sockets
	stop  func() // stops the services; the store stays open
}

func (s *sockets) Close() error {
	s.Deliverer.Close()
	s.Pickup.Close()
	return s.AdminClient.Close()
}

func cheapHash(password string) (string, error) {
	salt := []byte("saltsaltsaltsalt")
	b64 := base64.RawStdEncoding
	key := argon2.IDKey([]byte(password), salt, 1, 8, 1, 32)
	return fmt.Sprintf("$argon2id$v=19$m=8,t=1,p=1$%s$%s", b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

func openStore(t testing.TB, dir string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(dir, boltstore.Options{
		Create: true, Keep: boltstore.KeepPolicy{HistoryFor: 24 * time.Hour, HistoryBytes: 1 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// serve puts s behind sockets and connects to them.
func serve(t testing.TB, dir string) *sockets {
	t.Helper()
	s := &sockets{owner: openStore(t, dir), dir: dir, run: t.TempDir()}
	s.listen(t)
	s.Deliverer = storesock.NewDeliverer(s.path("deliver"))
	s.Pickup = storesock.NewPickup(s.path("pickup"))
	var err error
	if s.AdminClient, err = storesock.DialAdmin(t.Context(), s.path("admin")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *sockets) path(service string) string { return filepath.Join(s.run, service+".sock") }

// listen starts the services of the owner.
func (s *sockets) listen(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	start := func(service string, serve func(l net.Listener) error) {
		l, err := storesock.ListenUnix(s.path(service), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := serve(l); err != nil {
				t.Errorf("%s ended with %v", service, err)
			}
		})
	}
	start("admin", func(l net.Listener) error { return storesock.ServeAdmin(ctx, l, s.owner, zerolog.Nop()) })
	start("deliver", func(l net.Listener) error { return storesock.ServeDeliver(ctx, l, s.owner, zerolog.Nop()) })
	start("pickup", func(l net.Listener) error { return storesock.ServePickup(ctx, l, s.owner, zerolog.Nop()) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(s.stop)
}

// TestConformance: over the sockets a store is what it is without them.
func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Config{
		Hash: cheapHash,
		Open: func(t *testing.T) storetest.Store { return serve(t, t.TempDir()) },
		Reopen: func(t *testing.T, s storetest.Store) storetest.Store {
			old := s.(*sockets)
			old.stop()
			if err := old.owner.Close(); err != nil {
				t.Fatal(err)
			}
			return serve(t, old.dir)
		},
	})
}

const (
	me       = "me@here.example"
	you      = "you@here.example"
	password = "open sesame"
)

// withAccounts is serve with two accounts.
func withAccounts(t testing.TB) *sockets {
	t.Helper()
	s := serve(t, t.TempDir())
	hash, err := cheapHash(password)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{me, you} {
		if _, err := s.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: address, Hash: hash}}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func deliver(ctx context.Context, d store.Deliverer, to string, body []byte) (store.ID, error) {
	target, err := d.Resolve(ctx, store.Attempt{Session: "s", From: "a@sender.example", To: to})
	if err != nil {
		return store.ID{}, err
	}
	return deliverTo(ctx, d, target.Maildrops[0], body)
}

func deliverTo(ctx context.Context, d store.Deliverer, drop store.MaildropID, body []byte) (store.ID, error) {
	draft, err := d.Begin(ctx, store.Envelope{Session: "s", From: "a@sender.example"})
	if err != nil {
		return store.ID{}, err
	}
	defer draft.Discard()
	if _, err := draft.Write(body); err != nil {
		return store.ID{}, err
	}
	return draft.ID(), draft.Commit(ctx, store.Final{
		Trace:      []byte("Received: from a by b\r\n"),
		Recipients: []store.Recipient{{Maildrop: drop, Prefix: []byte("Return-Path: <a@sender.example>\r\nDelivered-To: u@bench.test\r\n")}},
	})
}

func login(ctx context.Context, p store.Pickup, name string) (store.Maildrop, error) {
	return p.Open(ctx, store.Login{Session: "p", Mechanism: "USER", Name: name, Secret: password})
}

func open(t testing.TB, p store.Pickup, name string) store.Maildrop {
	t.Helper()
	m, err := login(t.Context(), p, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// within fails the test when ch does not come.
func within(t testing.TB, what string, ch <-chan struct{}) {
	t.Helper()
	const patience = 20 * time.Second // long, since a test machine may be busy
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatalf("%s took more than %s", what, patience)
	}
}
