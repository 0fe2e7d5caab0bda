package storesock

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.org/letterbox/store"
)

// protocol is the number that both sides must have in common. It changes when an old side would misread a new one.
const protocol = 2

// helloTime is how long a side waits for the other's hello.
const helloTime = 5 * time.Second

// The services, one for each socket.
const (
	adminService   = "admin"
	deliverService = "deliver"
	pickupService  = "pickup"
)

// hello is what each side says first. Its form never changes, so that any two versions can tell each other their numbers; a
// field that one side does not know says what the other can do beyond.
type hello struct {
	Protocol int    `json:"protocol"`
	Service  string `json:"service"`
	Store    string `json:"store,omitempty"`    // the store's id, from the server
	Progress bool   `json:"progress,omitempty"` // from the server of admin: a request may ask for progress
	Refused  string `json:"refused,omitempty"`  // why the server hangs up now
}

// The reasons for which a server refuses a connection after its hello.
const (
	refusedUser = "user"
	refusedBusy = "busy"
)

// ErrDenied means that this user may not use the socket.
var ErrDenied = errors.New("only root and the store's owner may use its admin socket")

// ProtocolError means that the two sides are of versions that do not understand each other. It is temporary
// (store.ErrUnavailable): one of them is about to be restarted.
type ProtocolError struct{ Ours, Theirs int }

// Error names both numbers.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("the store's process speaks protocol %d and this one protocol %d: restart the older one", e.Theirs, e.Ours)
}

// Unwrap returns store.ErrUnavailable.
func (e *ProtocolError) Unwrap() error { return store.ErrUnavailable }

// StoreError means that the process at the socket holds another store now than when we first reached it, so that what we
// know of maildrops is not about its own. It is temporary (store.ErrUnavailable): this process is about to be restarted.
type StoreError struct{ Ours, Theirs string }

// Error names both ids.
func (e *StoreError) Error() string {
	return fmt.Sprintf("the store's process holds store %q now, and this one began with store %q: restart this one", e.Theirs, e.Ours)
}

// Unwrap returns store.ErrUnavailable.
func (e *StoreError) Unwrap() error { return store.ErrUnavailable }

// greet sends our hello.
func (c *wire) greet(h hello) error {
	h.Protocol = protocol
	content, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return c.send(appendFrame(nil, helloFrame, content))
}

// greeting reads the other side's hello and checks that it means us.
func (c *wire) greeting(service string) (hello, error) {
	var h hello
	if err := c.conn.SetReadDeadline(time.Now().Add(helloTime)); err != nil {
		return h, err
	}
	kind, content, err := readFrame(c.r, maxHello)
	if err != nil {
		return h, unexpected(err)
	}
	if kind != helloFrame || json.Unmarshal(content, &h) != nil {
		return h, errFrame
	}
	switch {
	case h.Protocol != protocol:
		return h, &ProtocolError{Ours: protocol, Theirs: h.Protocol}
	case h.Refused == refusedUser:
		return h, ErrDenied
	case h.Refused != "":
		return h, fmt.Errorf("%w: too many connections at once", store.ErrUnavailable)
	case h.Service != service:
		return h, fmt.Errorf("%w: the socket is for %q, not for %q", store.ErrUnavailable, h.Service, service)
	}
	return h, nil
}
