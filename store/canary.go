package store

import (
	"context"
	"net/netip"
	"time"
)

// CanaryWatch is what a daemon may ask of a Deliverer or Pickup that has it: whether a connection is letterbox's own look
// whether mail flows (the canary). Such a session is served like any other, and neither counted nor logged, and no bound of
// connections is for it.
type CanaryWatch interface {
	// IsCanary tells whether the canary connects from this address and port now.
	IsCanary(ctx context.Context, peer netip.AddrPort) (bool, error)
}

// Round is how one round of the canary went.
type Round struct {
	Step string        `json:"step,omitempty"` // that failed; empty: all went well
	Text string        `json:"text"`           // one sentence for the operator
	Took time.Duration `json:"took"`
}
