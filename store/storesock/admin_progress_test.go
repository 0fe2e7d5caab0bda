package storesock

import (
	"bytes"
	"context"
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
