package boltstore

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"example.org/letterbox/store"
	"example.org/letterbox/store/storetest"
)

// patience bounds every wait for something that must happen. It is long, since a test machine may be busy.
const patience = time.Minute

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

// cheapHash is a hash that costs next to nothing: what hashing costs is not what these tests are about.
func cheapHash(password string) (string, error) {
	salt := []byte("saltsaltsaltsalt")
	b64 := base64.RawStdEncoding
	key := argon2.IDKey([]byte(password), salt, 1, 8, 1, 32)
	return fmt.Sprintf("$argon2id$v=19$m=8,t=1,p=1$%s$%s", b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

// TestRehash: a hash of another kind or cost is replaced at the first login that shows the password.
func TestRehash(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	hash, err := cheapHash("x y")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: "me@here.example", Hash: hash}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m, err := s.Open(t.Context(), store.Login{Name: "me@here.example", Secret: "x y"})
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
	if now := s.accounts.directory().accounts["me@here.example"].Hash; !strings.Contains(now, "m=19456,t=2") {
		t.Errorf("hash is %s after a login", now)
	}
}

// testClock is the time as it is, and what a test adds to it.
type testClock struct{ ahead atomic.Int64 }

func (c *testClock) now() time.Time           { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *testClock) advance(by time.Duration) { c.ahead.Add(int64(by)) }

func TestConformance(t *testing.T) {
	clock := &testClock{}
	cheap := Options{
		keepHashes: true, Now: clock.now, Logins: LoginPolicy{TakeoverAfter: storetest.TakeoverAfter},
		Keep: KeepPolicy{HistoryFor: 24 * time.Hour, HistoryBytes: 1 << 20},
	}
	storetest.Run(t, storetest.Config{
		Hash: cheapHash, Advance: clock.advance,
		Open: func(t *testing.T) storetest.Store { return openTest(t, t.TempDir(), cheap) },
		Reopen: func(t *testing.T, s storetest.Store) storetest.Store {
			old := s.(*Store)
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			return openTest(t, old.dir, cheap)
		},
	})
}

// TestParts: the pieces of a batch are bounded and, one behind the other, are the batch.
func TestParts(t *testing.T) {
	large := &change{kind: kindDeletion, drop: 1}
	for i := range 2*indexBatch + 5 {
		large.deleted = append(large.deleted, uint64(i))
	}
	batch := []*change{{kind: kindMessage, seq: 1}, large, {kind: kindMessage, seq: 2}}
	var deleted int
	var kinds []uint8
	for _, part := range parts(batch, indexBatch) {
		weight := 0
		for _, c := range part {
			weight += 1 + len(c.deleted)
			deleted += len(c.deleted)
			kinds = append(kinds, c.kind)
		}
		if weight > 2*indexBatch {
			t.Errorf("a part weighs %d", weight)
		}
	}
	if deleted != len(large.deleted) || kinds[0] != kindMessage || kinds[len(kinds)-1] != kindMessage {
		t.Errorf("%d deletions of %d, kinds %v", deleted, len(large.deleted), kinds)
	}
	if got := parts(nil, indexBatch); len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("no changes become %v: the position would not move", got)
	}
}
