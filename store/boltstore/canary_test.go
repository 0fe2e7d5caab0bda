package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"example.org/letterbox/store"
)

const (
	testCanary = "0a1b2c3d@canary.invalid"
	testSecret = "only in memory"
)

func loopback() netip.Addr { return netip.MustParseAddr("127.0.0.1") }

// sendCanary sends a message to the canary as a receiver does.
func (ts *testStore) sendCanary(body []byte) store.ID {
	ts.Helper()
	target, err := ts.Resolve(ts.Context(), store.Attempt{Session: "s", Peer: loopback(), To: testCanary})
	if err != nil {
		ts.Fatal(err)
	}
	d := ts.begin(body)
	final := store.Final{Trace: []byte("Received: x\r\n")}
	for _, drop := range target.Maildrops {
		final.Recipients = append(final.Recipients, store.Recipient{Maildrop: drop, Prefix: []byte("Delivered-To: y\r\n")})
	}
	if err := d.Commit(ts.Context(), final); err != nil {
		ts.Fatal(err)
	}
	return d.ID()
}

func (ts *testStore) openCanaryDrop() store.Maildrop {
	ts.Helper()
	m, err := ts.Open(ts.Context(), store.Login{Peer: loopback(), Name: testCanary, Secret: testSecret})
	if err != nil {
		ts.Fatal(err)
	}
	return m
}

// known is all that the store tells of itself, but for what the disk does and what time brings.
func (ts *testStore) known() (all []any) {
	ts.Helper()
	var backup bytes.Buffer
	report, err := ts.Backup(ts.Context(), &backup)
	if err != nil {
		ts.Fatal(err)
	}
	report.Octets = 0 // the revision of logins
	verified, err := ts.Verify(ts.Context())
	if err != nil || verified.Damage > 0 {
		ts.Fatal(err, verified.Findings)
	}
	verified.Records = 0
	dir, err := ts.Directory(ts.Context())
	if err != nil {
		ts.Fatal(err)
	}
	off, err := ts.Store.Mismatch()
	if err != nil || off != 0 {
		ts.Fatal(off, err)
	}
	s := ts.Stats()
	s.LogBytes, s.IndexBytes, s.FreeBytes, s.Segments, s.Groups, s.GroupRecords, s.SyncSeconds = 0, 0, 0, 0, 0, 0, 0
	s.LastBackup, s.LastVerify, s.LiveShare, s.Reclaimed, s.ReclaimedBytes = s.LastDelivery, s.LastDelivery, 0, 0, 0
	return []any{report, verified, dir, s, bytes.Contains(backup.Bytes(), []byte("canary"))}
}

// TestCanary: the canary's message goes to the log and comes back whole, and nothing that the store tells knows of it, before
// its deletion, after, or at the next start.
func TestCanary(t *testing.T) {
	for name, size := range map[string]int{"in memory": 100, "in a file": maxInMemory + 1} {
		t.Run(name, func(t *testing.T) {
			ts := newTestStore(t, Options{})
			ts.SetCanary(testCanary, testSecret)
			ts.send([]byte("mail\r\n"))
			before := ts.known()
			same := func(when string) {
				t.Helper()
				if now := ts.known(); !reflect.DeepEqual(now, before) {
					t.Errorf("%s:\n%+v\nbefore:\n%+v", when, now, before)
				}
			}
			records := ts.log.Counts().Records
			body := append(bytes.Repeat([]byte("canary"), size/6), "\r\n"...)
			id := ts.sendCanary(body)
			same("delivered")
			m := ts.openCanaryDrop()
			want := append([]byte("Delivered-To: y\r\nReceived: x\r\n"), body...)
			if all := m.Messages(); len(all) != 1 || all[0].ID != id || all[0].Octets != int64(len(want)) {
				t.Fatalf("%+v", all)
			}
			same("open")
			r, err := m.Retrieve(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if _, err := got.ReadFrom(r); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d octets, want %d: %v", got.Len(), len(want), err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := m.Commit(t.Context(), []int{0}); err != nil {
				t.Fatal(err)
			}
			same("deleted")
			if n := ts.log.Counts().Records - records; n != 2 {
				t.Errorf("%d records were written, want one that brings and one that deletes", n)
			}
			if left := ts.openCanaryDrop().Messages(); len(left) != 0 || len(ts.files()) != 0 {
				t.Errorf("%v %v are left", left, ts.files())
			}
			for _, m := range []int{-1, 1} {
				if err := ts.openCanaryDrop().Commit(t.Context(), []int{m}); err == nil {
					t.Errorf("index %d was deleted", m)
				}
			}
		})
	}
}

// TestCanaryForStrangers: who is not on loopback, or has not the secret, or comes by a PROXY header, is told what everybody is
// told of an address and a login that there is not.
func TestCanaryForStrangers(t *testing.T) {
	ts := newTestStore(t, Options{sleep: func(context.Context, time.Duration) error { return nil }})
	far := netip.MustParseAddr("192.0.2.1")
	resolve := func(peer netip.Addr, to string) string {
		_, err := ts.Resolve(ts.Context(), store.Attempt{Session: "s", Peer: peer, To: to})
		return fmt.Sprint(err)
	}
	unknown := resolve(far, testCanary)
	ts.SetCanary(testCanary, testSecret)
	for _, peer := range []netip.Addr{far, {}, netip.MustParseAddr("10.0.0.1")} {
		if got := resolve(peer, testCanary); got != unknown {
			t.Errorf("from %v: %s, want %s", peer, got, unknown)
		}
	}
	if got := resolve(loopback(), "other@canary.invalid"); got != unknown {
		t.Errorf("another address there: %s", got)
	}
	for name, l := range map[string]store.Login{
		"from afar":      {Peer: far, Name: testCanary, Secret: testSecret},
		"a unix socket":  {Name: testCanary, Secret: testSecret},
		"by a proxy":     {Peer: loopback(), Proxied: true, Name: testCanary, Secret: testSecret},
		"a wrong secret": {Peer: loopback(), Name: testCanary, Secret: "x"},
		"an empty one":   {Peer: loopback()},
	} {
		_, err := ts.Open(ts.Context(), l)
		ts.wants(name, err, store.ErrCredential)
	}
	// One message for the canary and for somebody else is none.
	d := ts.begin([]byte("x\r\n"))
	both := store.Final{Recipients: []store.Recipient{{Maildrop: canaryDrop}, {Maildrop: ts.drop}}}
	ts.wants("for both", d.Commit(ts.Context(), both), store.ErrUnavailable)
}

// TestCanaryUnset: without SetCanary there is nobody, whatever a peer says.
func TestCanaryUnset(t *testing.T) {
	ts := newTestStore(t, Options{})
	_, err := ts.Resolve(ts.Context(), store.Attempt{Session: "s", Peer: loopback(), To: testCanary})
	ts.wants("mail", err, store.ErrNotLocal)
	_, err = ts.Open(ts.Context(), store.Login{Peer: loopback()})
	ts.wants("login", err, store.ErrCredential)
}

// TestCanaryLeft: what a crash leaves between delivery and deletion is nothing at the next start, with the index or made anew,
// and takes no number of a maildrop; what many rounds leave is bounded.
func TestCanaryLeft(t *testing.T) {
	for name, meddle := range map[string]func(string){
		"with the index": nil, "made anew": func(dir string) { os.Remove(filepath.Join(dir, "index.db")) },
	} {
		t.Run(name, func(t *testing.T) {
			ts := newTestStore(t, Options{})
			ts.SetCanary(testCanary, testSecret)
			ts.send([]byte("mail\r\n"))
			for range maxCanaryMail + 2 {
				ts.sendCanary(pattern(maxInMemory + 1))
			}
			if n := len(ts.openCanaryDrop().Messages()); n != maxCanaryMail || len(ts.files()) != n {
				t.Errorf("%d messages and %d files of rounds that did not end, want %d", n, len(ts.files()), maxCanaryMail)
			}
			before := ts.Stats()
			ts.again(Options{}, meddle)
			ts.SetCanary(testCanary, testSecret)
			if left := ts.openCanaryDrop().Messages(); len(left) != 0 || len(ts.files()) != 0 {
				t.Errorf("%v %v are left", left, ts.files())
			}
			ts.known() // wants no damage and no mismatch
			if s := ts.Stats(); s.Messages != before.Messages || s.Delivered != before.Delivered || s.Deleted != before.Deleted {
				t.Errorf("%+v, before %+v", s, before)
			}
			ts.apply(store.Edit{Op: store.AddAccount, Address: "second@here.example", Hash: testHash})
			if acc := ts.accounts.directory().accounts["second@here.example"]; acc.Maildrop != 2 {
				t.Errorf("the next account has maildrop %d", acc.Maildrop)
			}
		})
	}
}

// TestCanaryReclaimed: the records of many rounds go with the segments that hold nothing else.
func TestCanaryReclaimed(t *testing.T) {
	ts := newTestStore(t, quiet)
	ts.SetCanary(testCanary, testSecret)
	want := pattern(1000)
	ts.send(want)
	for range 300 {
		ts.sendCanary(pattern(1000))
		if err := ts.openCanaryDrop().Commit(ts.Context(), []int{0}); err != nil {
			t.Fatal(err)
		}
	}
	if n := ts.Stats().Segments; n < 4 {
		t.Fatalf("only %d segments", n)
	}
	ts.reclaim()
	if n := ts.Stats().Segments; n > 2 {
		t.Errorf("%d segments are left", n)
	}
	ts.holds([][]byte{want})
	ts.withoutIndex()
	ts.holds([][]byte{want})
}

// TestCanaryFrom: a connection is the canary's until it is said to be over.
func TestCanaryFrom(t *testing.T) {
	ts := newTestStore(t, Options{})
	from := netip.AddrPortFrom(loopback(), 40000)
	is := func(want bool) {
		t.Helper()
		if got, err := ts.IsCanary(t.Context(), from); got != want || err != nil {
			t.Errorf("%t %v, want %t", got, err, want)
		}
	}
	is(false)
	done := ts.CanaryFrom(from)
	is(true)
	done()
	is(false)
}
