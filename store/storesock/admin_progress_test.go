package storesock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// teller is a store that says how far it is.
type teller struct {
	*memory
	asked bool
}

func (s *teller) tell(ctx context.Context) {
	tell, asked := store.ProgressOf(ctx)
	s.asked = asked
	tell(1, 1<<40)
	tell(2, 1<<40) // too soon behind the first
	tell(1<<40, 1<<40)
}

func (s *teller) Verify(ctx context.Context) (store.Verification, error) {
	s.tell(ctx)
	return s.memory.Verify(ctx)
}

func (s *teller) Undelete(ctx context.Context, address string, since time.Time) (int, error) {
	s.tell(ctx)
	return 7, nil
}

// TestAdminProgress: who asks is told how far it is, and who does not is told nothing.
func TestAdminProgress(t *testing.T) {
	s := &teller{memory: &memory{}}
	path, _ := start(t, newServer(s))
	a := dial(t, path)
	var told [][2]int64
	asking := store.WithProgress(t.Context(), func(done, total int64) { told = append(told, [2]int64{done, total}) })
	both := func(ctx context.Context) {
		t.Helper()
		if v, err := a.Verify(ctx); err != nil || v.Damage != 1 {
			t.Errorf("%+v, %v", v, err)
		}
		if n, err := a.Undelete(ctx, "a@b.example", time.Time{}); err != nil || n != 7 {
			t.Errorf("%d, %v", n, err)
		}
	}
	both(asking)
	once := [][2]int64{{1, 1 << 40}, {1 << 40, 1 << 40}}
	if want := append(once, once...); !s.asked || !reflect.DeepEqual(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	told = nil
	both(t.Context())
	if s.asked || told != nil {
		t.Errorf("told %v who did not ask", told)
	}
}

// chatterer is a store that tells more than a socket holds.
type chatterer struct {
	*memory
	through chan struct{}
}

func (s *chatterer) Verify(ctx context.Context) (store.Verification, error) {
	tell, _ := store.ProgressOf(ctx)
	for range 20_000 {
		tell(1<<40, 1<<40)
	}
	close(s.through)
	return s.memory.Verify(ctx)
}

// TestProgressIsNotWaitedFor: a client whose terminal takes nothing, as over a connection that sleeps with a laptop, does not hold up
// what it asked for, and has the answer once it is awake.
func TestProgressIsNotWaitedFor(t *testing.T) {
	s := &chatterer{memory: &memory{}, through: make(chan struct{})}
	path, _ := start(t, newServer(s))
	c := rawDial(t, path)
	w := newWire(c, time.Minute)
	h, err := w.greeting(adminService)
	if err = errors.Join(err, w.greet(hello{Service: adminService}), w.writeMessage(adminRequest{Op: opVerify, Progress: true})); err != nil || !h.Progress {
		t.Fatal(h, err)
	}
	select {
	case <-s.through:
	case <-time.After(10 * time.Second):
		t.Fatal("the work waits for who is told of it")
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	told := 0
	var answer adminAnswer
	err = w.readAnswer(progressReader{func(int64, int64) { told++ }}, 0, &answer)
	if err != nil || answer.Verification == nil || answer.Verification.Damage != 1 || told == 0 {
		t.Errorf("told %d times, %+v, %v", told, answer.Verification, err)
	}
}

// TestProgressOfOlderOwner: an owner that does not know of progress is not asked for it, since it would hang up.
func TestProgressOfOlderOwner(t *testing.T) {
	path, _ := start(t, newServer(&memory{}))
	a := dial(t, path)
	if !a.tells {
		t.Error("an owner of today does not say that it tells")
	}
	a.tells = false
	ctx := store.WithProgress(t.Context(), func(int64, int64) { t.Error("told") })
	if _, err := a.Verify(ctx); err != nil {
		t.Error(err)
	}
	// As it greets, and as it takes what it does not know.
	w := newWire(scripted{r: bytes.NewReader(frame(helloFrame, fmt.Sprintf(`{"protocol":%d,"service":"admin","store":"5709e"}`, protocol)))}, time.Minute)
	if h, err := w.greeting(adminService); err != nil || h.Progress {
		t.Errorf("%+v, %v", h, err)
	}
}
