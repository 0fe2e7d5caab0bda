package app

import (
	"context"
	"errors"
	"strings"
	"testing"

	"example.org/letterbox/store/storesock"
)

// TestReadySays: a store that answers and is another, or of another version, is not one that is away.
func TestReadySays(t *testing.T) {
	for want, err := range map[string]error{
		"restart this one":           &storesock.StoreError{Ours: "a", Theirs: "b"},
		"restart the older one":      &storesock.ProtocolError{Ours: 2, Theirs: 3},
		"is letterbox store running": errors.New("dial /var/lib/letterbox/deliver.sock"),
	} {
		s := &process{ping: func(context.Context) error { return err }}
		s.up.Store(true)
		if got := s.ready(); got == nil || !strings.Contains(got.Error(), want) || strings.Contains(got.Error(), "/var") {
			t.Errorf("%v, want %q", got, want)
		}
	}
}
