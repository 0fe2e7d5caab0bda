package storesock

import (
	"errors"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// TestInspect: figures and findings come over the socket as they are, and errors as themselves.
func TestInspect(t *testing.T) {
	m := &memory{}
	path, _ := start(t, newServer(m))
	a, err := DialAdmin(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if s, err := a.Figures(t.Context()); err != nil || s.Messages != 3 || !s.LastDrain.Equal(time.Unix(1e9, 0)) || !s.LastDelivery.IsZero() {
		t.Errorf("figures: %+v %v", s, err)
	}
	if v, err := a.Verify(t.Context()); err != nil || v.Damage != 1 || len(v.Findings) != 1 || v.Findings[0].Text != "a finding" {
		t.Errorf("verification: %+v %v", v, err)
	}
	m.err = store.ErrFull
	if _, err := a.Figures(t.Context()); !errors.Is(err, store.ErrFull) {
		t.Errorf("figures: %v", err)
	}
	if _, err := a.Verify(t.Context()); !errors.Is(err, store.ErrFull) {
		t.Errorf("verify: %v", err)
	}
}
