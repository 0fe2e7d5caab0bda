// Package store says what a mail store promises: the types, errors and interfaces that the daemons use. It holds no
// implementation; boltstore is the store on disk, storesock the same interfaces over unix sockets, and storetest the
// conformance suite for each of them.
//
// A receiver reaches a [Deliverer] alone, a POP3 daemon a [Pickup] alone, and the operator's commands an [Admin].
package store

import (
	"context"
	"io"
	"net/netip"
	"time"
)

// MaildropID names one maildrop for ever: it is never given to another, also after the account is removed.
type MaildropID uint64

// Attempt is one RCPT: everything that may decide whether a forward-path is taken.
type Attempt struct {
	// Session is the SMTP session, for the history. Empty, it is a look-up: nobody asks to deliver, so no block is for it.
	Session string
	Peer    netip.Addr // the sender's address; invalid for a unix socket
	From    string     // reverse-path without brackets; empty for the null one
	To      string     // forward-path without brackets and quotes; split at the last @
	Size    int64      // octets declared with SIZE (RFC 1870), 0 when it was not
}

// Target says which maildrops a forward-path stands for: one for an account, several for an alias with several targets.
type Target struct {
	Maildrops []MaildropID
}

// Deliverer is all that a receiver can reach.
type Deliverer interface {
	// Resolve says who gets mail for one forward-path. It fails with ErrNoMaildrop, ErrNotLocal, ErrDisabled,
	// ErrBlocked, ErrOverQuota or ErrFull; any other error is temporary. Quota is decided here (declared SIZE, else
	// current use) and never after DATA.
	Resolve(ctx context.Context, a Attempt) (Target, error)
	// Begin starts one message. Nothing of it is visible before Commit.
	Begin(ctx context.Context, e Envelope) (Draft, error)
}

// Envelope is what is known of a message before its content.
type Envelope struct {
	Session  string // the SMTP session
	From     string // reverse-path, empty for the null one
	Declared int64  // octets declared with SIZE, 0 when it was not
}

// Draft is one message on its way into the store. Its methods are called by one goroutine, but Discard by any.
type Draft interface {
	// Write takes canonical octets: lines end in CRLF and no CR or LF stands alone. The memory that a draft holds is
	// bounded whatever the size; ErrFull means that there is no room for it now.
	io.Writer
	// ID is known from the start, so that Received and the 250 can carry it.
	ID() ID
	// Commit returns nil only when the message is durable for every recipient; on error it is there for none. After a
	// lost connection the outcome is unknown, and Commit of the same ID may be asked again.
	Commit(ctx context.Context, f Final) error
	// Discard forgets the draft. It is idempotent, safe after Commit and beside Write.
	Discard()
}

// Final is what stands above the body once everything is known.
type Final struct {
	// Trace are whole header lines, each ending in CRLF, that every recipient sees above the body.
	Trace []byte
	// Recipients holds one entry for each maildrop; a maildrop named twice gets the message once, with the first entry.
	Recipients []Recipient
	// Origin is told to the history.
	Origin Origin
}

// Recipient is one maildrop's copy of a message.
type Recipient struct {
	Maildrop MaildropID
	// Prefix are whole header lines, each ending in CRLF, that only this recipient sees, above Trace: Return-Path and
	// Delivered-To. At most MaxPrefix octets.
	Prefix []byte
}

// Bounds of what Commit takes, in octets and recipients. They keep a record's head readable in one piece.
const (
	MaxPrefix     = 8 << 10
	MaxTrace      = 64 << 10
	MaxRecipients = 1000
)

// Pickup is all that a POP3 daemon can reach.
type Pickup interface {
	// Open verifies the login, locks the maildrop and takes a snapshot of it, in one. Where another session has the lock
	// and has waited for a command for long, it is taken over; a Commit that has begun is waited for. It fails with
	// ErrCredential, ErrThrottled, ErrInUse or ErrLoginDelay; any other error is temporary and says nothing about the
	// secret. It may take some seconds to answer who failed before.
	Open(ctx context.Context, l Login) (Maildrop, error)
}

// Login is one attempt to log in: with a Secret, or by an Exchange in which none is sent.
type Login struct {
	Session   string     // the POP3 session
	Peer      netip.Addr // the client's address; invalid for a unix socket
	Proxied   bool       // a PROXY header gave Peer
	TLS       bool
	Mechanism string // USER, PLAIN, LOGIN, SCRAM-SHA-256 or SCRAM-SHA-256-PLUS
	Name      string // an account's address in any case, or a local part that one account has; empty with Exchange
	Secret    string

	// Exchange is set for SCRAM (RFC 5802) alone. It carries one message of the owner's to the client and returns the
	// client's next: nil asks for the client-first-message, then come server-first-message and, once the client is known,
	// server-final-message, whose answer is empty. An error of it ends Open, which returns it.
	Exchange func(ctx context.Context, server []byte) (client []byte, err error)
	// Binding is the TLS channel's data of type tls-exporter (RFC 9266), nil where the client was not offered
	// SCRAM-SHA-256-PLUS. Given with SCRAM-SHA-256 too, it shows a client from whom that offer was hidden (RFC 5802
	// section 6).
	Binding []byte
}

// Maildrop is one locked maildrop as it was when Open returned. Mail that comes later is not in it.
type Maildrop interface {
	// Messages is fixed for the life of the maildrop; index 0 is message 1. The caller must not change it.
	Messages() []Message
	// Retrieve returns exactly Octets octets of message index i: an io.EOF before that is an error of the reader and
	// never of the message. ErrCorrupt means that the message's checksum is wrong. An early Close costs no more.
	Retrieve(ctx context.Context, i int) (io.ReadCloser, error)
	// Active says that the client moved; a login may take over from one that did not for long. A message that is being
	// read, until its Close, and a Commit under way count as moves.
	Active()
	// Lost is closed when the maildrop is no longer ours: taken over, the account removed or disabled or its password
	// changed, or the owner is gone. Nothing that is marked is deleted then: Commit fails with ErrLost.
	Lost() <-chan struct{}
	// Commit deletes the messages at these indices, all or none, and returns nil only when that is durable.
	Commit(ctx context.Context, deleted []int) error
	// Close frees the lock; without Commit nothing is deleted. It is idempotent.
	Close() error
}

// Idler is a Maildrop that makes use of the time in which its session waits for the client.
type Idler interface {
	Maildrop
	// Idle says that all answers are on their way to the client. It may take as long as a small message takes to be read.
	Idle()
}

// Lender is what Retrieve returns where it can lend a message instead of having it copied.
type Lender interface {
	io.ReadCloser
	// Lend returns all that is left to read, in two parts, when the second, the body, lies in memory, and reads on behind it. The
	// parts are valid until Close and must not be changed.
	Lend() (head, body []byte, ok bool)
}

// Message is one message of a maildrop.
type Message struct {
	ID      ID
	Foreign string // the UIDL that an imported message brought with it, else empty
	Octets  int64  // what Retrieve returns, before dot-stuffing
}

// UIDL is the message's unique-id (RFC 1939 section 7): 1 to 70 octets of 0x21 to 0x7E, unique in its maildrop and never
// used again.
func (m Message) UIDL() string {
	if m.Foreign != "" {
		return m.Foreign
	}
	return m.ID.String()
}

// IsUIDL tells whether s can be a message's unique-id (RFC 1939 section 7).
func IsUIDL(s string) bool {
	if len(s) == 0 || len(s) > 70 {
		return false
	}
	for _, c := range []byte(s) {
		if c < 0x21 || c > 0x7E {
			return false
		}
	}
	return true
}

// AppendUIDL appends what UIDL returns to b.
func (m Message) AppendUIDL(b []byte) []byte {
	if m.Foreign != "" {
		return append(b, m.Foreign...)
	}
	return m.ID.Append(b)
}

// Stats is what the owner of a store counts. Octets are what RETR sends.
type Stats struct {
	Messages      int64     `json:"messages"` // present now, once for each maildrop
	Octets        int64     `json:"octets"`   // of these
	Delivered     uint64    `json:"delivered"`
	Deleted       uint64    `json:"deleted"` // since the store was made, like Delivered
	Accounts      int       `json:"accounts"`
	Disabled      int       `json:"disabled_accounts"`
	Aliases       int       `json:"aliases"`
	CatchAlls     int       `json:"catchalls"`
	LogBytes      int64     `json:"log_bytes"`  // on disk
	BodyBytes     int64     `json:"body_bytes"` // of large bodies, on disk; Figures alone counts them
	IndexBytes    int64     `json:"index_bytes"`
	FreeBytes     int64     `json:"free_bytes"`      // of the file system
	Segments      int       `json:"segments"`        // files of the log
	Pending       int64     `json:"pending_records"` // durable and not in the index yet
	Groups        uint64    `json:"commit_groups"`   // since start, like the rest
	GroupRecords  uint64    `json:"commit_records"`
	SyncSeconds   float64   `json:"sync_seconds"`
	WriteErrors   uint64    `json:"write_errors"`
	OpenMaildrops int       `json:"open_maildrops"`
	LastDelivery  time.Time `json:"last_delivery,omitzero"` // zero: not since start
	LastDrain     time.Time `json:"last_drain,omitzero"`

	Writable       bool      `json:"writable"`                  // false: neither mail nor deletions are taken until a restart
	Lost           int64     `json:"lost_messages"`             // what repairs could not save; negative: was found
	Mismatch       int64     `json:"mismatch"`                  // entries beyond what the counters say; 0 in a store in order
	Oldest         time.Time `json:"oldest_unfetched,omitzero"` // of the messages that no POP3 session saw since start
	PendingSince   time.Time `json:"pending_since,omitzero"`    // when the oldest pending record became durable
	LiveShare      float64   `json:"live_share"`                // of the sealed segments, as reclaim last found it
	Reclaimed      uint64    `json:"reclaimed_segments"`        // since start, like the next
	ReclaimedBytes uint64    `json:"reclaimed_bytes"`
	HashRunning    int       `json:"hash_running"` // passwords that are checked now
	HashWaiting    int       `json:"hash_waiting"` // and those that wait for that
	Takeovers      uint64    `json:"takeovers"`    // of maildrops from sessions that had not moved for long, since start
	QuotaUsed      float64   `json:"quota_used"`   // the largest share of a quota that is used; 0 without quotas
	LastBackup     time.Time `json:"last_backup,omitzero"`
	BackupFailures uint64    `json:"backup_failures"`       // of those that the configuration asks for, since start
	LastVerify     time.Time `json:"last_verify,omitzero"`  // of the last one that found no damage; zero: not since start
	HistoryBytes   int64     `json:"history_bytes"`         // on disk
	HistoryDropped uint64    `json:"history_dropped_lines"` // that could not be written, since start
}
