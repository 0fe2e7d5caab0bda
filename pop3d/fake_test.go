package pop3d

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"example.org/letterbox/store"
)

const (
	testName   = "user@example.org"
	testSecret = "secret"
)

// fakeStore is one account in memory, which fails where a test wants it to.
type fakeStore struct {
	mu       sync.Mutex
	password string
	mail     []fakeMessage
	locked   bool
	logins   []store.Login
	commits  int
	active   int
	lost     chan struct{}

	damaged   int // the message's number
	openErr   error
	commitErr error
	// retrieve, when set, takes the place of the message's own reader.
	retrieve func(i int, body []byte) (io.ReadCloser, error)
	// onActive runs at each call of Active.
	onActive func()
	// onOpen runs before a login is decided.
	onOpen func()
	// onCommit runs before a commit is carried out.
	onCommit func()
}

type fakeMessage struct {
	uidl string
	body []byte
}

// newFake holds messages with the UIDLs uid-1, uid-2, …
func newFake(bodies ...string) *fakeStore {
	f := &fakeStore{password: testSecret, lost: make(chan struct{})}
	for i, b := range bodies {
		f.mail = append(f.mail, fakeMessage{fmt.Sprintf("uid-%d", i+1), []byte(b)})
	}
	return f
}

func (f *fakeStore) Open(ctx context.Context, l store.Login) (store.Maildrop, error) {
	if f.onOpen != nil {
		f.onOpen()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logins = append(f.logins, l)
	switch {
	case f.openErr != nil:
		return nil, fmt.Errorf("fake: %w", f.openErr)
	case l.Exchange != nil:
		if err := f.exchange(ctx, l); err != nil {
			return nil, err
		}
	case !strings.EqualFold(l.Name, testName) || l.Secret != f.password:
		return nil, store.ErrCredential
	}
	if f.locked {
		return nil, store.ErrInUse
	}
	f.locked = true
	return &fakeDrop{f: f, mail: slices.Clone(f.mail)}, nil
}

// deliver puts a message into the maildrop, whoever has it.
func (f *fakeStore) deliver(uidl, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mail = append(f.mail, fakeMessage{uidl, []byte(body)})
}

// state returns what a test compares, under the lock.
func (f *fakeStore) state() (left []string, locked bool, commits int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.mail {
		left = append(left, m.uidl)
	}
	return left, f.locked, f.commits
}

type fakeDrop struct {
	f      *fakeStore
	mail   []fakeMessage
	closed bool
}

func (d *fakeDrop) Messages() []store.Message {
	var list []store.Message
	for _, m := range d.mail {
		list = append(list, store.Message{Foreign: m.uidl, Octets: int64(len(m.body))})
	}
	return list
}

func (d *fakeDrop) Retrieve(_ context.Context, i int) (io.ReadCloser, error) {
	if d.f.damaged == i+1 {
		return nil, fmt.Errorf("fake: %w", store.ErrCorrupt)
	}
	if d.f.retrieve != nil {
		return d.f.retrieve(i, d.mail[i].body)
	}
	return io.NopCloser(bytes.NewReader(d.mail[i].body)), nil
}

func (d *fakeDrop) Active() {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	d.f.active++
	if d.f.onActive != nil {
		d.f.onActive()
	}
}

func (d *fakeDrop) Lost() <-chan struct{} { return d.f.lost }

func (d *fakeDrop) Commit(_ context.Context, deleted []int) error {
	if d.f.onCommit != nil {
		d.f.onCommit()
	}
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	d.f.commits++
	if d.f.commitErr != nil {
		return d.f.commitErr
	}
	gone := map[string]bool{}
	for _, i := range deleted {
		gone[d.mail[i].uidl] = true
	}
	d.f.mail = slices.DeleteFunc(d.f.mail, func(m fakeMessage) bool { return gone[m.uidl] })
	return nil
}

func (d *fakeDrop) Close() error {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if !d.closed {
		d.closed, d.f.locked = true, false
	}
	return nil
}

// sharedPickup gives every login a maildrop with the same one message.
type sharedPickup struct{ body string }

func (p *sharedPickup) Open(context.Context, store.Login) (store.Maildrop, error) {
	return sharedDrop{p}, nil
}

type sharedDrop struct{ *sharedPickup }

func (d sharedDrop) Messages() []store.Message {
	return []store.Message{{Foreign: "uid", Octets: int64(len(d.body))}}
}

func (d sharedDrop) Retrieve(context.Context, int) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(d.body)), nil
}

func (sharedDrop) Active()                             {}
func (sharedDrop) Lost() <-chan struct{}               { return nil }
func (sharedDrop) Commit(context.Context, []int) error { return nil }
func (sharedDrop) Close() error                        { return nil }
