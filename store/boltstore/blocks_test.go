package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// blocking returns a store with one account and these blocks.
func blocking(tb testing.TB, dir string, o Options, senders ...string) *Store {
	tb.Helper()
	o.Create, o.keepHashes = true, true
	s, err := Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	hash, err := cheapHash("x y")
	if err != nil {
		tb.Fatal(err)
	}
	edits := []store.Edit{{Op: store.AddAccount, Address: "me@here.example", Hash: hash}}
	for _, sender := range senders {
		edits = append(edits, store.Edit{Op: store.AddBlock, Address: sender})
	}
	if _, err := s.Apply(tb.Context(), 0, edits); err != nil {
		tb.Fatal(err)
	}
	return s
}

// written returns the count of a block in the file.
func (s *Store) written(t *testing.T, sender string) (count uint64) {
	t.Helper()
	err := s.accounts.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucketBlockUses).Get([]byte(blockKey(sender, ""))); v != nil {
			count = binary.BigEndian.Uint64(v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// TestBlockCountsAreWrittenOnceAMinute: a hundred refusals cost one transaction, and that a minute later.
func TestBlockCountsAreWrittenOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := blocking(t, t.TempDir(), Options{}, "spam.example")
		defer s.Close() // within the bubble
		refuseOne := func() {
			_, err := s.Resolve(t.Context(), store.Attempt{Session: "s", From: "a@spam.example", To: "me@here.example"})
			if !errors.Is(err, store.ErrBlocked) {
				t.Fatal(err)
			}
		}
		for range 100 {
			refuseOne()
		}
		before := transactions(s)
		time.Sleep(59 * time.Second)
		if n := s.written(t, "spam.example"); n != 0 || transactions(s) != before {
			t.Errorf("%d are written within the minute", n)
		}
		time.Sleep(2 * time.Second)
		if n := s.written(t, "spam.example"); n != 100 || transactions(s) != before+1 {
			t.Errorf("%d are written, in %d transactions", n, transactions(s)-before)
		}
		time.Sleep(time.Hour)
		if transactions(s) != before+1 {
			t.Error("it is written again, though nothing was refused")
		}
		refuseOne()
		time.Sleep(61 * time.Second)
		if n := s.written(t, "spam.example"); n != 101 {
			t.Errorf("%d are written", n)
		}
	})
}

// transactions counts those that changed accounts.db.
func transactions(s *Store) (id int) {
	s.accounts.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil })
	return id
}

// TestOlderAccountsFile: a file from before there were blocks gets room for them.
func TestOlderAccountsFile(t *testing.T) {
	dir := t.TempDir()
	s := blocking(t, dir, Options{})
	err := s.accounts.db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket(bucketBlocks), tx.DeleteBucket(bucketBlockUses))
	})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{})
	if _, err := s.Apply(t.Context(), 0, []store.Edit{{Op: store.AddBlock, Address: "spam.example"}}); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkResolveBlocked is one RCPT beside 30,000 blocks of every kind, none of which fits but the last asked for.
func BenchmarkResolveBlocked(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		var senders []string
		for i := range n {
			a := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0})
			senders = append(senders, netip.PrefixFrom(a, 17+i%16).Masked().String(), fmt.Sprintf("a%d.example", i), fmt.Sprintf("a%d@b.example", i))
		}
		d := newDirectory()
		for _, s := range senders {
			d.blocks.add(blockKey(s, ""), blockFacts{})
		}
		d.accounts["me@here.example"] = &account{Maildrop: 1}
		d.complete()
		a := store.Attempt{Session: "s", Peer: netip.MustParseAddr("192.0.2.1"), From: "bounce+me=here.example@mail.eu.sender.example", To: "me@here.example"}
		to, _ := store.ParseAddress(a.To)
		b.Run(fmt.Sprint(len(senders)), func(b *testing.B) {
			for b.Loop() {
				if key, ok := d.blocks.match(a, d.recipientNames(to)); ok {
					b.Fatal(key)
				}
			}
		})
	}
}
