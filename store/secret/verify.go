package secret

import (
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"
)

// ErrBusy is what a Verifier returns when too many checks wait already. It is temporary and says nothing about the secret.
var ErrBusy = errors.New("too many passwords wait to be checked")

const (
	defaultMemory = 64 << 20
	maxWaiting    = 64
)

// Verifier checks passwords while the memory of all checks together stays bounded. Its methods may be called by any number
// of goroutines.
type Verifier struct {
	gate gate
	// nobody is a hash of the usual cost for names that have no account: its work takes the same time, and then fails.
	nobody argon

	trim     trimmer
	computed atomic.Uint64
}

// NewVerifier returns a Verifier whose checks take at most memory octets together, 64 MiB when memory is 0 or less. A hash
// that costs more than that runs alone. What the checks of a burst took goes back to the system a second after the last.
func NewVerifier(memory int64) *Verifier {
	if memory <= 0 {
		memory = defaultMemory
	}
	return &Verifier{
		gate:   gate{size: memory, maxWait: maxWaiting},
		trim:   trimmer{free: debug.FreeOSMemory},
		nobody: argon{m: argonMemory, t: argonTime, p: argonThreads, salt: make([]byte, argonSalt), key: make([]byte, argonKey)},
	}
}

// Verify tells whether password is the one that hash was made of, and then whether the hash should be replaced by what
// Hash returns now. An empty hash stands for an account that does not exist: the work is the same as for a hash of ours,
// and the answer is no.
//
// Checks wait their turn in the order of arrival: at most 64, then ErrBusy. While it waits, Verify ends with the context;
// a check that runs is not broken off. A hash that Check refuses is an error, after the same work.
func (v *Verifier) Verify(ctx context.Context, hash, password string) (ok, rehash bool, err error) {
	var h stored = v.nobody
	known := false
	if hash != "" {
		parsed, parseErr := parse(hash)
		if known = parseErr == nil; known {
			h = parsed
		}
		err = parseErr
	}
	if len(password) > MaxPassword {
		// No hash was made of it. The work is done all the same, on a length that bounds it.
		password, known = password[:MaxPassword], false
	}
	leave, busy := v.enter(ctx, reservation(h))
	if busy != nil {
		return false, false, busy
	}
	defer leave()
	v.computed.Add(1)
	ok = h.matches(password) && known
	if !ok && !h.current() {
		// Else a hash that was imported and is cheaper than ours would tell by time that the account exists. One that
		// costs more still takes longer.
		v.computed.Add(1)
		v.nobody.matches(password)
	}
	return ok, ok && !h.current(), err
}

// Load returns how many checks run now, and how many wait for their turn.
func (v *Verifier) Load() (running, waiting int) { return v.gate.load() }

// Hash is the function Hash with its memory reserved as that of a check is.
func (v *Verifier) Hash(ctx context.Context, password string) (string, error) {
	leave, err := v.enter(ctx, v.nobody.memory())
	if err != nil {
		return "", err
	}
	defer leave()
	v.computed.Add(1)
	return Hash(password)
}

// enter is the gate's, and what was computed inside is given back to the system some time after leave.
func (v *Verifier) enter(ctx context.Context, cost int64) (leave func(), err error) {
	out, err := v.gate.enter(ctx, cost)
	if err != nil {
		return nil, err
	}
	v.trim.begin()
	return func() {
		v.trim.end()
		out()
	}, nil
}

// Computed returns how many hashes were computed so far.
func (v *Verifier) Computed() uint64 { return v.computed.Load() }

// reservation is what a check of h reserves, in octets. Hashes that take little memory take time instead: each counts as
// one of ours, so that no more run at once.
func reservation(h stored) int64 { return max(h.memory(), argonMemory<<10) }
