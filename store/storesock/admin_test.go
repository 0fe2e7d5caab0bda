package storesock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/letterbox/store"
)

func TestAdminRoundTrip(t *testing.T) {
	m := &memory{dir: store.Directory{
		Revision: 7,
		Accounts: []store.Account{{Address: "a@x.example", Maildrop: 1 << 63, Created: time.Unix(1e9, 5).UTC(), Messages: 3, Octets: 1 << 40}},
		Aliases:  []store.Alias{{Address: "@y.example", Targets: []string{"@x.example"}}},
	}}
	path, _ := start(t, newServer(m))
	a := dial(t, path)
	if a.StoreID() != "5709e" {
		t.Errorf("store id %q", a.StoreID())
	}
	got, err := a.Directory(t.Context())
	if err != nil || !reflect.DeepEqual(got, m.dir) {
		t.Errorf("%+v, %v", got, err)
	}
	edits := []store.Edit{{Op: store.AddAlias, Address: "b@x.example", Targets: []string{"a@x.example"}},
		{Op: store.RemoveAccount, Address: "a@x.example", DiscardMail: true}}
	revision, err := a.Apply(t.Context(), 7, edits)
	if err != nil || revision != 8 || !reflect.DeepEqual(m.applied, [][]store.Edit{edits}) {
		t.Errorf("revision %d, %v, applied %+v", revision, err, m.applied)
	}
}

// A directory of 100,000 accounts takes many frames each way.
func TestAdminLargeDirectory(t *testing.T) {
	const accounts = 100_000
	m := &memory{}
	var edits []store.Edit
	for i := range accounts {
		address := fmt.Sprintf("account-%06d@a-domain-of-some-length.example", i)
		m.dir.Accounts = append(m.dir.Accounts, store.Account{Address: address, Maildrop: store.MaildropID(i), Created: time.Unix(int64(i), 0).UTC()})
		if i%10 == 0 {
			edits = append(edits, store.Edit{Op: store.EnableAccount, Address: address})
		}
	}
	path, _ := start(t, newServer(m))
	a := dial(t, path)
	got, err := a.Directory(t.Context())
	if err != nil || !reflect.DeepEqual(got.Accounts, m.dir.Accounts) {
		t.Fatalf("%d accounts, %v", len(got.Accounts), err)
	}
	if _, err := a.Apply(t.Context(), 0, edits); err != nil || !reflect.DeepEqual(m.applied[0], edits) {
		t.Fatalf("%d edits, %v", len(m.applied[0]), err)
	}
}

// What is over the bound is an error on either side, and the connection goes on.
func TestAdminTooLarge(t *testing.T) {
	m := &memory{dir: store.Directory{CatchAlls: []store.CatchAll{{Domain: strings.Repeat("x", 1000)}}}}
	s := newServer(m)
	s.limit = 1000
	path, _ := start(t, s)
	a := dial(t, path)
	a.wire.limit = 1000
	if _, err := a.Directory(t.Context()); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("a directory that is too large: %v", err)
	}
	if _, err := a.Apply(t.Context(), 0, []store.Edit{{Hash: strings.Repeat("x", 1000)}}); !errors.Is(err, errMessageSize) {
		t.Errorf("edits that are too large: %v", err)
	}
	if _, err := a.Apply(t.Context(), 0, nil); err != nil || m.calls() != 1 {
		t.Errorf("the next call: %v, %d calls", err, m.calls())
	}
}

func TestErrorsSurvive(t *testing.T) {
	m := &memory{}
	path, _ := start(t, newServer(m))
	a := dial(t, path)
	for _, n := range names() {
		for _, m.err = range []error{n.err, fmt.Errorf("applying: %w", n.err)} {
			_, err := a.Directory(t.Context())
			if !errors.Is(err, n.err) || err.Error() != m.err.Error() || store.Temporary(err) != store.Temporary(n.err) {
				t.Errorf("%v came as %v", m.err, err)
			}
		}
	}
	m.err = fmt.Errorf("edit 2: %w", &store.EditError{Code: store.CodeNotEmpty, Text: "3 messages wait"})
	_, err := a.Apply(t.Context(), 0, nil)
	var edit *store.EditError
	if !errors.As(err, &edit) || edit.Code != store.CodeNotEmpty || edit.Text != "3 messages wait" {
		t.Errorf("an EditError came as %#v", err)
	}
	m.err = errors.New("disk on fire")
	if _, err := a.Directory(t.Context()); err.Error() != "disk on fire" || !store.Temporary(err) {
		t.Errorf("an error without a name came as %v", err)
	}
}

// An error that a newer owner has a code for, and we have not, is temporary.
func TestUnknownCodeIsTemporary(t *testing.T) {
	for _, f := range []failure{{Code: "comet", Text: "a comet fell"}, {Code: "comet"}, {}, {Code: codeEdit}} {
		if err := decodeError(&f); !store.Temporary(err) || !errors.Is(err, store.ErrUnavailable) || err.Error() == "" {
			t.Errorf("%+v became %v", f, err)
		}
	}
}

// A request that is read to its end is done and answered while the server stops; after that the socket is gone.
func TestAdminStopFinishesRequest(t *testing.T) {
	m := &memory{block: make(chan struct{}), entered: make(chan struct{})}
	path, stop := start(t, newServer(m))
	a, idle := dial(t, path), dial(t, path)
	result := make(chan error, 1)
	go func() {
		_, err := a.Apply(context.Background(), 0, nil)
		result <- err
	}()
	<-m.entered
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	// The idle connection is closed at once, the busy one is not.
	if _, err := readAll(idle); err != nil {
		t.Errorf("the idle connection: %v", err)
	}
	select {
	case <-stopped:
		t.Fatal("the server did not wait for the request")
	default:
	}
	close(m.block)
	if err := <-result; err != nil {
		t.Errorf("the request: %v", err)
	}
	<-stopped
	if _, err := DialAdmin(t.Context(), path); !errors.Is(err, ErrNoOwner) {
		t.Errorf("after the stop: %v", err)
	}
}

func readAll(a *AdminClient) ([]byte, error) {
	a.wire.conn.SetReadDeadline(time.Now().Add(patience))
	return io.ReadAll(a.wire.r)
}

// A call ends with its context; then the outcome is unknown and the client is of no more use.
func TestCallEndsWithContext(t *testing.T) {
	m := &memory{block: make(chan struct{}), entered: make(chan struct{})}
	path, _ := start(t, newServer(m))
	defer close(m.block)
	a := dial(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-m.entered; cancel() }()
	if _, err := a.Apply(ctx, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := a.Directory(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the next call: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestClientIsConcurrent(t *testing.T) {
	m := &memory{}
	path, _ := start(t, newServer(m))
	a := dial(t, path)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := a.Apply(t.Context(), 0, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if m.calls() != 20 {
		t.Errorf("%d calls", m.calls())
	}
}

func TestOtherUserIsRefused(t *testing.T) {
	s := newServer(&memory{})
	s.allow = func(p peer) bool { return false }
	path, _ := start(t, s)
	if _, err := DialAdmin(t.Context(), path); !errors.Is(err, ErrDenied) {
		t.Errorf("%v", err)
	}
}

func TestMayAdminister(t *testing.T) {
	path, _ := start(t, newServer(&memory{}))
	us, err := peerOf(rawDial(t, path))
	if err != nil || !mayAdminister(us) {
		t.Fatalf("our own user: %+v, %v", us, err)
	}
	if mayAdminister(peer{uid: us.uid + 1000, gid: us.gid + 1000}) {
		t.Error("a stranger may")
	}
	if !mayAdminister(peer{uid: us.uid + 1000, gid: us.gid}) || !mayAdminister(peer{uid: 0, gid: us.gid + 1}) {
		t.Error("the group or root may not")
	}
}

func TestTooManyAtOnce(t *testing.T) {
	s := newServer(&memory{})
	s.slots = make(chan struct{}, 1)
	path, _ := start(t, s)
	first := dial(t, path)
	if _, err := DialAdmin(t.Context(), path); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "too many") {
		t.Errorf("the second: %v", err)
	}
	first.Close()
	for {
		a, err := DialAdmin(t.Context(), path)
		if err == nil {
			a.Close()
			return
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
	}
}

// A connection that asks nothing is closed.
func TestIdleIsClosed(t *testing.T) {
	s := newServer(&memory{})
	s.idle = time.Millisecond
	path, _ := start(t, s)
	if _, err := readAll(dial(t, path)); err != nil {
		t.Error(err)
	}
}
