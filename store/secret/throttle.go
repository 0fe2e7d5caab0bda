package secret

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ErrThrottled is what a Throttle says to an address that is banned, and to an attempt whose turn is too far off. It is
// temporary and says nothing about the secret.
var ErrThrottled = errors.New("too many failed logins")

// Bounds of a Throttle's memory: 3 tables of at most so many entries of about 250 octets, 6 MiB together. Where a table is
// full, what changed least recently goes.
const (
	throttleEntries = 8192
	firstDelay      = time.Second
)

// ThrottlePolicy says what failed logins cost. The zero value lets everything through.
type ThrottlePolicy struct {
	Free     int           // failures, of one address and at one account, that cost nothing
	MaxDelay time.Duration // each further one doubles the time between two attempts, from 1 s up to this; 0: no delay
	BanAfter int           // failures after which an address is refused; 0: never
	// Memory is how long an address is refused, and how long failures count: those of an address, or at an account, are
	// forgotten once there was none for so long.
	Memory time.Duration
	// Exempt are addresses whose failures count at the account alone, ExemptProxied those where a PROXY header gave the
	// address.
	Exempt, ExemptProxied []netip.Prefix
}

// Throttle slows down who guesses passwords. It counts failures of each client's network and at each account; an attempt at
// an account from a network that its owner logs in from is counted apart, so that strangers can't lock the owner out. All
// that it knows of an account is the name that was given, so it treats names without an account alike. Its methods may be
// called by any number of goroutines.
type Throttle struct {
	now func() time.Time
	key [32]byte // random, of this process: names and secrets are kept as digests alone

	mu        sync.Mutex
	policy    ThrottlePolicy
	addresses recent[failures]
	accounts  recent[failures]
	secrets   recent[time.Time] // when it was found wrong
}

// failures is what is counted of one address, or at one account.
type failures struct {
	n    int
	last time.Time
	next time.Time // when the next attempt has its turn
}

// Attempt is one login as a Throttle sees it.
type Attempt struct {
	// Account is what is counted for: the same text for all spellings of a name.
	Account string
	Peer    netip.Addr // invalid for a client on this machine
	Proxied bool       // a PROXY header gave Peer
	Known   bool       // an owner of this account logs in from there
	// Secret is what makes two attempts the same: name and secret, and whatever makes a wrong secret right. Empty where the
	// secret is not known; then no attempt is like another.
	Secret string
}

// Ticket is an attempt that was let in.
type Ticket struct {
	// Wait is how long to wait before the secret is looked at.
	Wait time.Duration
	// Repeated tells that the same secret was found wrong before: it is so still, and counts no second time.
	Repeated bool

	counted bool // at an address
	address digest
	account digest
	secret  digest
}

// digest is a name or a secret under the throttle's key.
type digest [16]byte

// NewThrottle returns a Throttle that knows of no failure and reads the time from now.
func NewThrottle(now func() time.Time, p ThrottlePolicy) *Throttle {
	t := &Throttle{now: now, policy: p}
	rand.Read(t.key[:]) //nolint:errcheck // it never fails
	return t
}

// SetPolicy replaces the policy. What was counted stays.
func (t *Throttle) SetPolicy(p ThrottlePolicy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.policy = p
}

func (t *Throttle) digest(parts ...string) digest {
	sum := keyed(&t.key, parts...)
	return digest(sum[:len(digest{})])
}

// Network is what counts as one client: an IPv4 address, or a /64 of IPv6, which one household has. It is invalid for an
// address that is.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // an invalid address gives an invalid one
	return p
}

// Begin lets an attempt in, or fails with ErrThrottled. A Ticket whose attempt failed is given back to Failed.
func (t *Throttle) Begin(a Attempt) (Ticket, error) {
	network := Network(a.Peer)
	k := Ticket{account: t.digest("account", a.Account), address: t.digest("address", network.String())}
	if a.Known {
		k.account = t.digest("known", a.Account, network.String())
	}
	if a.Secret != "" {
		k.secret = t.digest("secret", a.Secret)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	k.counted = network.IsValid() && !t.exempt(a)
	var turns []*failures
	if f := t.remembered(&t.addresses, k.address, now); f != nil && k.counted {
		if t.policy.BanAfter > 0 && f.n >= t.policy.BanAfter {
			return Ticket{}, ErrThrottled
		}
		turns = append(turns, f)
	}
	if when := t.secrets.get(k.secret); a.Secret != "" && when != nil && now.Sub(*when) < t.policy.Memory {
		k.Repeated = true
		return k, nil
	}
	if f := t.remembered(&t.accounts, k.account, now); f != nil {
		turns = append(turns, f)
	}
	var err error
	k.Wait, err = t.turn(turns, now)
	return k, err
}

// turn gives an attempt its turn: later than all before, with a delay between that the failures make. No turn is given that
// is further off than the longest delay, so few wait at once.
func (t *Throttle) turn(counts []*failures, now time.Time) (time.Duration, error) {
	at := now
	for _, f := range counts {
		if t.delay(f.n) > 0 && f.next.After(at) {
			at = f.next
		}
	}
	wait := at.Sub(now)
	if wait > t.policy.MaxDelay {
		return 0, ErrThrottled
	}
	for _, f := range counts {
		f.next = at.Add(t.delay(f.n))
	}
	return wait, nil
}

// delay is the time between two attempts after n failures.
func (t *Throttle) delay(n int) time.Duration {
	over := n - t.policy.Free
	if over <= 0 {
		return 0
	}
	return min(firstDelay<<min(over-1, 30), t.policy.MaxDelay)
}

// Failed counts an attempt whose secret was wrong, once for each secret.
func (t *Throttle) Failed(k Ticket) {
	if k.Repeated {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if k.secret != (digest{}) {
		if when := t.secrets.get(k.secret); when != nil && now.Sub(*when) < t.policy.Memory {
			return // of two at the same time
		}
		t.secrets.put(k.secret, now)
	}
	t.count(&t.accounts, k.account, now)
	if k.counted {
		t.count(&t.addresses, k.address, now)
	}
}

func (t *Throttle) count(table *recent[failures], key digest, now time.Time) {
	f := t.remembered(table, key, now)
	if f == nil {
		f = table.put(key, failures{})
	}
	f.n, f.last = f.n+1, now
	if next := now.Add(t.delay(f.n)); next.After(f.next) {
		f.next = next
	}
	table.touch(key)
}

// remembered returns the failures that still count, nil for none.
func (t *Throttle) remembered(table *recent[failures], key digest, now time.Time) *failures {
	f := table.get(key)
	if f != nil && now.Sub(f.last) >= t.policy.Memory {
		table.remove(key)
		return nil
	}
	return f
}

func (t *Throttle) exempt(a Attempt) bool {
	networks := t.policy.Exempt
	if a.Proxied {
		networks = t.policy.ExemptProxied
	}
	peer := a.Peer.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(peer) })
}
