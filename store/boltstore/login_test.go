package boltstore

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

// apply makes edits.
func (ts *testStore) apply(edits ...store.Edit) {
	ts.Helper()
	if _, err := ts.Apply(ts.Context(), 0, edits); err != nil {
		ts.Fatal(err)
	}
}

// login logs in from an address and returns the error; a maildrop is closed at once.
func (ts *testStore) login(name, password, peer string) error {
	ts.Helper()
	addr, _ := netip.ParseAddr(peer)
	m, err := ts.Open(ts.Context(), store.Login{Peer: addr, Mechanism: "PLAIN", Name: name, Secret: password})
	if err == nil {
		m.Close()
	}
	return err
}

func (ts *testStore) wants(what string, err, want error) {
	ts.Helper()
	if !errors.Is(err, want) {
		ts.Errorf("%s: %v, want %v", what, err, want)
	}
}

// usual is a hash of the usual cost.
func usual(t *testing.T, password string) string {
	t.Helper()
	hash, err := secret.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// TestLoginCost counts hashes: what fails costs one, whether the account exists or not, is disabled, ambiguous, or has many
// app passwords; what was right a moment ago costs none.
func TestLoginCost(t *testing.T) {
	clock := &testClock{}
	ts := newTestStore(t, Options{Now: clock.now})
	ts.apply(store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: usual(t, "right")},
		store.Edit{Op: store.AddAccount, Address: "off@here.example", Hash: usual(t, "right")},
		store.Edit{Op: store.DisableAccount, Address: "off@here.example"},
		store.Edit{Op: store.AddAccount, Address: "both@here.example", Hash: usual(t, "right")},
		store.Edit{Op: store.AddAccount, Address: "both@other.example", Hash: usual(t, "right")},
		store.Edit{Op: store.AddAccount, Address: "apps@here.example", Hash: usual(t, "right")})
	var apps []string
	for i := range store.MaxAppPasswords {
		apps = append(apps, secret.Generate())
		ts.apply(store.Edit{Op: store.AddAppPassword, Address: "apps@here.example", Name: fmt.Sprint(i), Hash: secret.AppHash(apps[i])})
	}
	offApp := secret.Generate()
	ts.apply(store.Edit{Op: store.AddAppPassword, Address: "off@here.example", Name: "x", Hash: secret.AppHash(offApp)})
	cost := func(want uint64, name, password string, wantErr error) {
		t.Helper()
		before := ts.verifier.Computed()
		ts.wants(name+" "+password, ts.login(name, password, ""), wantErr)
		if n := ts.verifier.Computed() - before; n != want {
			t.Errorf("login of %s by %s computes %d hashes, want %d", name, password, n, want)
		}
	}
	no := store.ErrCredential
	for _, name := range []string{"me@here.example", "me", "off@here.example", "both", "apps@here.example", "x@here.example", "x", "", "@", "\xff"} {
		cost(1, name, "wrong", no)
	}
	cost(1, "off", "right", no)
	cost(1, "off", offApp, no)
	cost(1, "both", "right", no)
	cost(1, "me", "right", nil)
	cost(0, "me", "right", nil)
	cost(0, "ME@here.example", "right", nil)
	cost(1, "me", "wrong again", no)
	for _, app := range apps {
		cost(0, "apps", app, nil)
	}
	cost(1, "me", apps[0], no)

	clock.advance(9 * time.Minute)
	cost(0, "me", "right", nil)
	clock.advance(11 * time.Minute)
	cost(1, "me", "right", nil)
	ts.apply(store.Edit{Op: store.DisableAccount, Address: "me@here.example"})
	cost(1, "me", "right", no)
	ts.apply(store.Edit{Op: store.EnableAccount, Address: "me@here.example"})
	cost(1, "me", "right", nil)
	ts.apply(store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: usual(t, "right")})
	cost(1, "me", "right", nil)
	ts.apply(store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: usual(t, "new")})
	cost(1, "me", "right", no)
}

// throttled is a store whose waits are written down instead of waited.
func throttledStore(t *testing.T, clock *testClock) (*testStore, Options, func() []time.Duration) {
	var mu sync.Mutex
	var waits []time.Duration
	o := Options{
		Now: clock.now, keepHashes: true,
		Logins: LoginPolicy{Throttle: secret.ThrottlePolicy{
			Free: 2, MaxDelay: 10 * time.Second, BanAfter: 8, Memory: 15 * time.Minute,
			Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		}},
		sleep: func(_ context.Context, d time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, d.Round(time.Second))
			clock.advance(d)
			return nil
		},
	}
	hash, err := cheapHash("right")
	if err != nil {
		t.Fatal(err)
	}
	ts := newTestStore(t, o)
	ts.apply(store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: hash})
	return ts, o, func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		taken := waits
		waits = nil
		return taken
	}
}

// TestThrottledLogins: strangers who guess wait longer and longer, for an account as for a name without one; its owner, who
// has logged in from there before, does not, also after a restart; a month later he does.
func TestThrottledLogins(t *testing.T) {
	clock := &testClock{}
	ts, o, waits := throttledStore(t, clock)
	const home = "198.51.100.7"
	ts.wants("at home", ts.login("me", "right", home), nil)
	attack := func(name string) []time.Duration {
		t.Helper()
		waits()
		for i := range 6 {
			ts.wants(name, ts.login(name, fmt.Sprint("guess", i), fmt.Sprintf("203.0.113.%d", i)), store.ErrCredential)
		}
		return waits()
	}
	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}
	if got := attack("me@here.example"); !slices.Equal(got, want) {
		t.Errorf("waits %v, want %v", got, want)
	}
	if got := attack("nobody@here.example"); !slices.Equal(got, want) {
		t.Errorf("waits of a name without account %v, want %v", got, want)
	}
	ts.wants("at home under attack", ts.login("me", "right", home), nil)
	if got := waits(); got != nil {
		t.Errorf("the owner waited %v", got)
	}
	ts.again(o, nil)
	attack("me@here.example")
	ts.wants("at home under attack after a restart", ts.login("me", "right", home), nil)
	if got := waits(); got != nil {
		t.Errorf("the owner waited %v after a restart", got)
	}
	ts.wants("elsewhere under attack", ts.login("me", "right", "198.51.100.8"), nil)
	if got := waits(); len(got) != 1 {
		t.Errorf("the owner waited %v elsewhere", got)
	}
	clock.advance(31 * 24 * time.Hour)
	attack("me@here.example")
	ts.wants("at home under attack a month later", ts.login("me", "right", home), nil)
	if got := waits(); len(got) != 1 {
		t.Errorf("the owner waited %v a month later", got)
	}
}

// TestBan: an address that guesses at many accounts is refused whatever it sends, for a while, and no hash is computed.
func TestBan(t *testing.T) {
	clock := &testClock{}
	ts, _, _ := throttledStore(t, clock)
	const there = "203.0.113.1"
	for i := range 8 {
		ts.wants("guess", ts.login(fmt.Sprint("name", i), "x", there), store.ErrCredential)
	}
	before := ts.verifier.Computed()
	ts.wants("banned", ts.login("me", "right", there), store.ErrThrottled)
	if ts.verifier.Computed() != before {
		t.Error("a hash was computed for an address that is banned")
	}
	ts.wants("elsewhere", ts.login("me", "right", "203.0.113.2"), nil)
	clock.advance(15 * time.Minute)
	ts.wants("later", ts.login("me", "right", there), nil)
	for i := range 20 {
		ts.wants("exempt", ts.login(fmt.Sprint("other", i), "x", "127.0.0.1"), store.ErrCredential)
	}
	ts.wants("exempt", ts.login("me", "right", "127.0.0.1"), nil)
	ts.SetLogins(LoginPolicy{Throttle: secret.ThrottlePolicy{BanAfter: 1, Memory: time.Minute}})
	ts.wants("no longer exempt", ts.login("x", "x", "127.0.0.1"), store.ErrCredential)
	ts.wants("no longer exempt", ts.login("me", "right", "127.0.0.1"), store.ErrThrottled)
}

// TestOldPassword: a client that sends one password again and again, by one mechanism after the other, neither slows its
// owner down nor costs more than one hash, until the password becomes right.
func TestOldPassword(t *testing.T) {
	clock := &testClock{}
	ts, _, waits := throttledStore(t, clock)
	before := ts.verifier.Computed()
	for range 30 {
		clock.advance(10 * time.Second)
		ts.wants("old password", ts.login("me@here.example", "old", "203.0.113.1"), store.ErrCredential)
	}
	if n := ts.verifier.Computed() - before; n > 2 { // the hash of this test is cheap: a failure adds one of ours
		t.Errorf("%d hashes", n)
	}
	ts.wants("right", ts.login("me", "right", "203.0.113.1"), nil)
	if got := waits(); got != nil {
		t.Errorf("the owner waited %v", got)
	}
	hash, err := cheapHash("old")
	if err != nil {
		t.Fatal(err)
	}
	ts.apply(store.Edit{Op: store.SetPassword, Address: "me@here.example", Hash: hash})
	ts.wants("the password that became right", ts.login("me@here.example", "old", "203.0.113.1"), nil)
}

func TestLoginDelay(t *testing.T) {
	clock := &testClock{}
	ts, _, _ := throttledStore(t, clock)
	ts.SetLogins(LoginPolicy{LoginDelay: time.Minute})
	ts.wants("first", ts.login("me", "right", ""), nil)
	clock.advance(50 * time.Second)
	ts.wants("a wrong password", ts.login("me", "x", ""), store.ErrCredential)
	ts.wants("too soon", ts.login("me", "right", ""), store.ErrLoginDelay)
	clock.advance(11 * time.Second)
	ts.wants("later", ts.login("me", "right", ""), nil)
	if !store.Temporary(store.ErrLoginDelay) {
		t.Error("ErrLoginDelay is not temporary")
	}
}

// writes is how many transactions accounts.db has seen.
func (ts *testStore) writes() (n int) {
	ts.accounts.db.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil }) //nolint:errcheck // it returns none
	return n
}

// TestLastUse: a thousand logins cost one transaction in the background, and what they said outlives a restart; what is said
// of an account that is removed goes with it.
func TestLastUse(t *testing.T) {
	clock := &testClock{}
	o := Options{Now: clock.now, noteInterval: time.Hour}
	ts := newTestStore(t, o)
	app := secret.Generate()
	ts.apply(store.Edit{Op: store.AddAppPassword, Address: "me@here.example", Name: "phone", Hash: secret.AppHash(app)})
	before := ts.writes()
	for i := range 1000 {
		clock.advance(time.Second)
		if err := ts.login("me", app, fmt.Sprintf("203.0.113.%d", i%100)); err != nil {
			t.Fatal(err)
		}
	}
	if n := ts.writes() - before; n > 1 {
		t.Errorf("%d transactions", n)
	}
	used := func() time.Time {
		d, err := ts.Directory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return d.Accounts[0].AppPasswords[0].LastUsed
	}
	last := used()
	if ago := clock.now().Sub(last); ago < 0 || ago > 5*time.Second {
		t.Errorf("last used %s ago", ago)
	}
	fetched := func() store.Fetch {
		d, err := ts.Directory(t.Context())
		if err != nil || d.Accounts[0].LastFetch == nil {
			t.Fatal(d.Accounts, err)
		}
		return *d.Accounts[0].LastFetch
	}
	want := store.Fetch{At: last, Peer: netip.MustParseAddr("203.0.113.99"), Mechanism: "PLAIN", App: "phone"}
	if got := fetched(); got != want {
		t.Errorf("last fetched %+v, want %+v", got, want)
	}
	if n := len(ts.logins.notes[ts.drop].Networks); n != maxNetworks {
		t.Errorf("%d networks are known", n)
	}
	ts.again(o, nil)
	if !used().Equal(last) {
		t.Errorf("after a restart last used at %s, not %s", used(), last)
	}
	if got := fetched(); got != want {
		t.Errorf("after a restart last fetched %+v, want %+v", got, want)
	}
	if !ts.logins.known(ts.drop, netip.MustParseAddr("203.0.113.99")) || ts.logins.known(ts.drop, netip.MustParseAddr("203.0.113.5")) {
		t.Error("not the last networks are known")
	}
	ts.apply(store.Edit{Op: store.RemoveAccount, Address: "me@here.example"})
	ts.logins.dirty[ts.drop], ts.logins.notes[ts.drop] = true, &note{} // of a login in that moment
	ts.again(o, nil)
	ts.accounts.db.View(func(tx *bbolt.Tx) error { //nolint:errcheck // it returns none
		if v := tx.Bucket(bucketLogins).Get(dropKey(ts.drop)); v != nil {
			t.Errorf("of a removed account %s is kept", v)
		}
		return nil
	})
}

// TestFetchesOfManyAccounts: what is kept of accounts beyond one transaction's batch is written and read whole.
func TestFetchesOfManyAccounts(t *testing.T) {
	ts := newTestStore(t, Options{noteInterval: time.Hour})
	dir := newDirectory()
	const n = 2*noteBatch + 7
	for i := range store.MaildropID(n) {
		dir.accounts[fmt.Sprintf("u%d@here.example", i)] = &account{Maildrop: i + 1}
	}
	dir.complete()
	ts.accounts.dir.Store(dir)
	for i := range store.MaildropID(n) {
		ts.logins.succeeded(principal{drop: i + 1}, store.Login{Mechanism: "USER"})
	}
	ts.logins.write()
	clear(ts.logins.notes)
	all, err := ts.logins.fetches()
	if err != nil || len(all) != n || all[n].Mechanism != "USER" {
		t.Errorf("%d of %d are kept, %v", len(all), n, err)
	}
}
