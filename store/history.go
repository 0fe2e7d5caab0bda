package store

import (
	"errors"
	"net/netip"
	"time"
)

// Origin is what only the receiver knows of a message. It is for the history and no part of the message; what does not fit
// is cut.
type Origin struct {
	Peer      netip.Addr // the sender's address; invalid for a unix socket
	MessageID string     // of the header (RFC 5322 section 3.6.4), without the angle brackets; empty where there is none
	Paths     []string   // the forward-paths that were taken, at most MaxRecipients
}

// MaxPath and MaxMessageID bound what the history keeps of a path (RFC 5321 section 4.5.3.1) and of a Message-ID, in octets.
const (
	MaxPath      = maxLocal + 1 + maxDomain
	MaxMessageID = 255
)

// Refusal is a MAIL, a RCPT or a message that a receiver did not take.
type Refusal struct {
	Session   string
	Peer      netip.Addr
	From      string   // reverse-path; empty for the null one
	To        []string // the forward-path of RCPT; of a message those that had been taken, at most MaxRecipients
	Verb      string   // MAIL, RCPT or DATA
	Code      int      // of the reply
	Reason    string   // a word of a closed set
	Octets    int64    // of a message, as far as it came
	MessageID string   // of a message, where its header came so far
}

// Noter takes notes for the history. A Deliverer may be one.
type Noter interface {
	// Note notes a refusal. It never waits: what can't be kept is dropped and counted.
	Note(r Refusal)
}

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	EventAccepted  EventKind = "accepted"  // by SMTP or LMTP, and durable
	EventRefused   EventKind = "refused"   // at MAIL, RCPT or DATA
	EventRetrieved EventKind = "retrieved" // by POP3, each to its last octet
	EventDeleted   EventKind = "deleted"   // by a POP3 session that ended with QUIT
	EventExpired   EventKind = "expired"
	EventUndeleted EventKind = "undeleted"
	EventImported  EventKind = "imported"
	EventRemoved   EventKind = "removed" // an account was; with the messages that waited for it
)

// Event is one line of the history, in the form in which it is kept and printed. Addresses are canonical where they are
// addresses, all texts are printable.
type Event struct {
	Time time.Time `json:"time"` // of several refusals that of the last
	Kind EventKind `json:"event"`

	Messages []ID     `json:"msgs,omitempty"` // several where a session took them within a moment
	Was      ID       `json:"was,omitzero"`   // EventUndeleted: the message that was deleted
	Session  string   `json:"sid,omitempty"`
	Remote   string   `json:"remote,omitempty"` // the client's address; its network where refusals of many were put together
	From     string   `json:"from,omitempty"`   // reverse-path, <> for the null one
	To       []string `json:"to,omitempty"`     // forward-paths
	Accounts []string `json:"accounts,omitempty"`
	Octets   int64    `json:"octets,omitempty"`

	MessageID string `json:"message_id,omitempty"` // without angle brackets

	Verb   string    `json:"verb,omitempty"` // of refusals, like the rest
	Code   int       `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Count  int64     `json:"count,omitempty"` // so many more like one before; 0 is that one itself
	First  time.Time `json:"first,omitzero"`  // of these
}

// Query asks for what happened to mail.
type Query struct {
	// Text is a message's id, a Message-ID or an address, the last two in angle brackets or not; or a session's id.
	Text  string    `json:"text"`
	Since time.Time `json:"since,omitzero"`
	Limit int       `json:"limit,omitempty"` // events, the newest; 0 and more than MaxEvents: MaxEvents
}

// MaxEvents bounds what one Query is answered with.
const MaxEvents = 1000

// Traced is what the history knows, the newest last.
type Traced struct {
	Events []Event `json:"events"`
	More   bool    `json:"more,omitempty"` // older ones were left out
}

// ErrNoHistory means that no history is kept.
var ErrNoHistory = errors.New("the history is off")
