package secret

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeClock is a time that only a test moves.
type fakeClock struct{ at time.Time }

func newClock() *fakeClock { return &fakeClock{time.Unix(1e9, 0)} }

func (c *fakeClock) now() time.Time           { return c.at }
func (c *fakeClock) advance(by time.Duration) { c.at = c.at.Add(by) }

func testPolicy() ThrottlePolicy {
	return ThrottlePolicy{
		Free: 2, MaxDelay: 8 * time.Second, BanAfter: 6, Memory: 15 * time.Minute,
		Exempt:        []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fe80::/10")},
		ExemptProxied: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
}

const throttled = time.Duration(-1)

// step is one attempt that fails: how long after the one before it came, and how long it had to wait.
type step struct {
	account, peer, secret string
	known, proxied        bool
	after, wait           time.Duration
	repeated              bool
}

func TestThrottle(t *testing.T) {
	const a, b = "192.0.2.1", "198.51.100.7"
	long := 20 * time.Minute
	for name, steps := range map[string][]step{
		"delay of an account doubles": {
			{account: "me", peer: a, secret: "1"}, {account: "me", peer: b, secret: "2"},
			{account: "me", peer: "203.0.113.1", secret: "3"},
			{account: "me", peer: "203.0.113.2", secret: "4", wait: time.Second},
			{account: "me", peer: "203.0.113.3", secret: "5", wait: time.Second, after: time.Second},
			{account: "me", peer: "203.0.113.4", secret: "6", wait: time.Second, after: 3 * time.Second},
			{account: "me", peer: "203.0.113.5", secret: "7", wait: 7 * time.Second, after: time.Second},
			{account: "you", peer: "203.0.113.6", secret: "8"},
			{account: "me", peer: "203.0.113.7", secret: "9", after: long},
		},
		"delay and ban of an address": {
			{account: "1", peer: a}, {account: "2", peer: a}, {account: "3", peer: a},
			{account: "4", peer: a, wait: time.Second},
			{account: "5", peer: a, after: 10 * time.Second}, {account: "6", peer: a, after: 10 * time.Second},
			{account: "7", peer: a, after: 14 * time.Minute, wait: throttled},
			{account: "7", peer: b},
			{account: "7", peer: a, after: time.Minute},
		},
		"exempt, unless a PROXY header gave the address": {
			{account: "1", peer: "127.0.0.1"}, {account: "2", peer: "127.0.0.1"}, {account: "3", peer: "127.0.0.1"}, {account: "4", peer: "127.0.0.1"},
			{account: "5", peer: "127.0.0.1", proxied: true}, {account: "6", peer: "127.0.0.1", proxied: true},
			{account: "7", peer: "127.0.0.1", proxied: true}, {account: "8", peer: "127.0.0.1", proxied: true, wait: time.Second},
			{account: "9", peer: "10.0.0.1", proxied: true}, {account: "10", peer: "10.0.0.1", proxied: true},
			{account: "11", peer: "10.0.0.1", proxied: true}, {account: "12", peer: "10.0.0.1", proxied: true},
		},
		"one /64 is one client": {
			{account: "1", peer: "2001:db8::1"}, {account: "2", peer: "2001:db8::2"}, {account: "3", peer: "2001:db8::3:4"},
			{account: "4", peer: "2001:db8::5", wait: time.Second},
			{account: "5", peer: "2001:db8:0:1::5"},
			{account: "6", peer: "::ffff:192.0.2.1"}, {account: "7", peer: a}, {account: "8", peer: a},
			{account: "9", peer: "::ffff:192.0.2.1", wait: time.Second},
		},
		"exempt addresses and local clients have no bound": {
			{account: "1", peer: "127.0.0.1"}, {account: "2", peer: "127.0.0.1"}, {account: "3", peer: "127.0.0.1"},
			{account: "4", peer: "127.0.0.1"}, {account: "5", peer: "127.0.0.1"}, {account: "6", peer: "::ffff:127.0.0.1"},
			{account: "7", peer: "127.0.0.1"}, {account: "8", peer: "fe80::1%eth0"}, {account: "8"}, {account: "9"},
			{account: "10"}, {account: "11"}, {account: "12"}, {account: "13"}, {account: "14"},
		},
		"but an account is guarded from them": {
			{account: "me", peer: "127.0.0.1"}, {account: "me", peer: "127.0.0.1"}, {account: "me"},
			{account: "me", peer: "127.0.0.1", wait: time.Second},
		},
		"strangers don't bind who is known": {
			{account: "me", peer: "203.0.113.1"}, {account: "me", peer: "203.0.113.2"}, {account: "me", peer: "203.0.113.3"},
			{account: "me", peer: a, known: true}, {account: "me", peer: a, known: true},
			{account: "me", peer: "203.0.113.4", wait: time.Second},
			{account: "me", peer: "127.0.0.1", known: true}, {account: "me", peer: "127.0.0.1", known: true},
			{account: "me", peer: "127.0.0.1", known: true}, // but its own failures do
			{account: "me", peer: "127.0.0.1", known: true, wait: time.Second},
		},
		"the same secret counts once": {
			{account: "me", peer: a, secret: "old"},
			{account: "me", peer: a, secret: "old", repeated: true}, {account: "me", peer: a, secret: "old", repeated: true},
			{account: "me", peer: b, secret: "old", repeated: true}, {account: "me", peer: a, secret: "2"},
			{account: "me", peer: a, secret: "3"},
			{account: "me", peer: a, secret: "old", repeated: true},
			{account: "me", peer: a, secret: "4", wait: time.Second},
			{account: "me", peer: a, secret: "old", after: long},
		},
		"few wait at once": {
			{account: "me"}, {account: "me"}, {account: "me"}, {account: "me", wait: time.Second}, {account: "me", wait: 2 * time.Second},
			{account: "me", wait: 4 * time.Second}, {account: "me", wait: 8 * time.Second}, {account: "me", wait: throttled},
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			th := NewThrottle(clock.now, testPolicy())
			for i, s := range steps {
				clock.advance(s.after)
				peer, _ := netip.ParseAddr(s.peer)
				k, err := th.Begin(Attempt{Account: s.account, Peer: peer, Secret: s.secret, Known: s.known, Proxied: s.proxied})
				if errors.Is(err, ErrThrottled) {
					k.Wait = throttled
				}
				if k.Wait != s.wait || k.Repeated != s.repeated {
					t.Fatalf("attempt %d: wait %s, repeated %t", i+1, k.Wait, k.Repeated)
				}
				if err == nil {
					th.Failed(k)
				}
			}
		})
	}
}

// Concurrent attempts with one secret, of which each began before any failed, count once.
func TestThrottleTwins(t *testing.T) {
	clock := newClock()
	th := NewThrottle(clock.now, testPolicy())
	var tickets []Ticket
	for range 3 {
		k, err := th.Begin(Attempt{Account: "me", Secret: "x"})
		if err != nil || k.Repeated {
			t.Fatal(k, err)
		}
		tickets = append(tickets, k)
	}
	for _, k := range tickets {
		th.Failed(k)
	}
	if f := th.accounts.get(th.digest("account", "me")); f.n != 1 {
		t.Errorf("%d failures", f.n)
	}
}

// The zero policy bounds nothing, and a policy takes effect at once.
func TestThrottlePolicy(t *testing.T) {
	th := NewThrottle(newClock().now, ThrottlePolicy{})
	peer := netip.MustParseAddr("192.0.2.1")
	try := func() error {
		k, err := th.Begin(Attempt{Account: "me", Peer: peer})
		if err == nil && k.Wait > 0 {
			err = errors.New("wait")
		}
		th.Failed(k)
		return err
	}
	for range 100 {
		if err := try(); err != nil {
			t.Fatal(err)
		}
	}
	th.SetPolicy(testPolicy())
	for range 6 {
		try()
	}
	if err := try(); !errors.Is(err, ErrThrottled) {
		t.Errorf("banned by the new policy: %v", err)
	}
}

// However many addresses and names fail, the tables stay at their bound, and those that fail now are remembered.
func TestThrottleMemory(t *testing.T) {
	th := NewThrottle(newClock().now, testPolicy())
	for i := range 2 * throttleEntries {
		peer := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		k, err := th.Begin(Attempt{Account: fmt.Sprint("name", i), Peer: peer, Secret: fmt.Sprint("secret", i)})
		if err != nil {
			t.Fatal(err)
		}
		th.Failed(k)
	}
	for what, n := range map[string][2]int{
		"addresses": {th.addresses.order.Len(), len(th.addresses.entries)},
		"accounts":  {th.accounts.order.Len(), len(th.accounts.entries)},
		"secrets":   {th.secrets.order.Len(), len(th.secrets.entries)},
	} {
		if n != [2]int{throttleEntries, throttleEntries} {
			t.Errorf("%d %s are kept", n, what)
		}
	}
	last := 2*throttleEntries - 1
	if k, _ := th.Begin(Attempt{Account: "x", Secret: fmt.Sprint("secret", last)}); !k.Repeated {
		t.Error("the last failure is forgotten")
	}
}

// model is what the throttle promises of one account that is tried without an address: it lists all failures.
type model struct {
	p      ThrottlePolicy
	n      int
	last   time.Time
	failed map[string]time.Time
}

// TestThrottleModel compares with a list of failures, and holds what is promised whatever comes: a turn within MaxDelay, at
// least the delay between two turns, and no second count for a secret.
func TestThrottleModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := newClock()
		p := ThrottlePolicy{
			Free:     rapid.IntRange(0, 3).Draw(t, "free"),
			MaxDelay: time.Duration(rapid.IntRange(0, 20).Draw(t, "max")) * time.Second,
			Memory:   time.Duration(rapid.IntRange(30, 120).Draw(t, "memory")) * time.Second,
		}
		th := NewThrottle(clock.now, p)
		m := model{p: p, failed: map[string]time.Time{}}
		var turn time.Time
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			clock.advance(time.Duration(rapid.IntRange(0, 40_000).Draw(t, "ms")) * time.Millisecond)
			secret := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "secret")
			k, err := th.Begin(Attempt{Account: "me", Secret: secret})
			m.forget(clock.at)
			at, known := m.failed[secret]
			if repeated := known && clock.at.Sub(at) < p.Memory; k.Repeated != repeated {
				t.Fatalf("repeated %t, want %t", k.Repeated, repeated)
			}
			if err != nil || k.Repeated {
				continue
			}
			if k.Wait > p.MaxDelay {
				t.Fatalf("wait of %s", k.Wait)
			}
			now := clock.at.Add(k.Wait)
			if d := m.delay(); m.n > 0 && d > 0 && (now.Sub(m.last) < d || now.Sub(turn) < d) {
				t.Fatalf("turn %s after a failure and %s after a turn, with %d failures", now.Sub(m.last), now.Sub(turn), m.n)
			}
			turn = now
			clock.advance(k.Wait)
			if rapid.Bool().Draw(t, "wrong") {
				th.Failed(k)
				m.forget(clock.at)
				m.n, m.last, m.failed[secret] = m.n+1, clock.at, clock.at
			}
		}
	})
}

func (m *model) forget(now time.Time) {
	if now.Sub(m.last) >= m.p.Memory {
		m.n = 0
	}
}

func (m *model) delay() time.Duration {
	if m.n <= m.p.Free {
		return 0
	}
	d := time.Second
	for range m.n - m.p.Free - 1 {
		d = min(2*d, time.Hour)
	}
	return min(d, m.p.MaxDelay)
}
