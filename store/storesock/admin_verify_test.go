package storesock

import (
	"context"
	"errors"
	"testing"

	"example.org/letterbox/store"
)

// endless is a store so large that Verify ends with its context only.
type endless struct {
	*memory
	entered, left chan struct{}
}

func (e *endless) Verify(ctx context.Context) (store.Verification, error) {
	close(e.entered)
	<-ctx.Done()
	close(e.left)
	return store.Verification{}, ctx.Err()
}

// TestVerifyEndsWithClient: a client that hangs up, as Ctrl-C does, ends the owner's work.
func TestVerifyEndsWithClient(t *testing.T) {
	e := &endless{memory: &memory{}, entered: make(chan struct{}), left: make(chan struct{})}
	path, _ := start(t, newServer(e))
	a := dial(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := a.Verify(ctx)
		result <- err
	}()
	<-e.entered
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("the client: %v", err)
	}
	<-e.left
	if _, err := dial(t, path).Directory(t.Context()); err != nil {
		t.Errorf("the next client: %v", err)
	}
}

// TestVerifyThenMore: looking for the end of the client takes nothing from its next request, also one that was sent ahead.
func TestVerifyThenMore(t *testing.T) {
	path, _ := start(t, newServer(&memory{}))
	a := dial(t, path)
	for range 100 {
		if err := a.wire.writeMessage(adminRequest{Op: opVerify}); err != nil {
			t.Fatal(err)
		}
		if v, err := a.Verify(t.Context()); err != nil || v.Damage != 1 {
			t.Fatalf("%+v, %v", v, err)
		}
		if _, err := a.wire.readMessage(); err != nil { // of the second
			t.Fatal(err)
		}
		if f, err := a.Figures(t.Context()); err != nil || f.Messages != 3 {
			t.Fatalf("%+v, %v", f, err)
		}
	}
}
