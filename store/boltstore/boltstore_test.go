package boltstore

import (
	"testing"

	"example.org/letterbox/store/secret"
	"example.org/letterbox/store/storetest"
)

func openTest(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	o.Create = true
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Config{
		Hash: secret.Hash,
		Open: func(t *testing.T) storetest.Store { return openTest(t, t.TempDir(), Options{}) },
		Reopen: func(t *testing.T, s storetest.Store) storetest.Store {
			old := s.(*Store)
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			return openTest(t, old.dir, Options{})
		},
	})
}
