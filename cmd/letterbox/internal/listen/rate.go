package listen

import (
	"net/netip"
	"time"
)

// The bounds of what rate remembers: about 2 MiB. Where more addresses come within a minute, those that come last are not
// held to the rate: so many strangers are bounded by the connections in all alone.
const (
	maxTracked    = 16 << 10
	sweepInterval = time.Second
)

// rate bounds how fast an address opens connections: a bucket that holds a minute's worth and fills evenly. For each
// address it keeps the time at which its bucket is full again, and nothing once that has come.
type rate struct {
	full  map[netip.Prefix]time.Time
	swept time.Time
}

func newRate() rate { return rate{full: map[netip.Prefix]time.Time{}} }

// allow takes one connection out of the address's bucket, or says that there is none.
func (r *rate) allow(key netip.Prefix, perMinute int, now time.Time) bool {
	full, known := r.full[key]
	if !known || full.Before(now) {
		full = now
	}
	full = full.Add(time.Minute / time.Duration(perMinute))
	if full.Sub(now) > time.Minute {
		return false
	}
	if !known && len(r.full) >= maxTracked && !r.sweep(now) {
		return true
	}
	r.full[key] = full
	return true
}

// sweep forgets the addresses whose bucket is full, and tells whether that made room. It goes over all of them, so it does
// nothing when it was done a moment ago.
func (r *rate) sweep(now time.Time) bool {
	if now.Sub(r.swept) < sweepInterval {
		return false
	}
	r.swept = now
	for key, full := range r.full {
		if !full.After(now) {
			delete(r.full, key)
		}
	}
	return len(r.full) < maxTracked
}
