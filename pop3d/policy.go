package pop3d

import (
	"crypto/tls"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

// Config is fixed for the life of a Server.
type Config struct {
	Hostname string       // what the greeting and the farewell name; no angle brackets
	Store    store.Pickup // where mail is fetched from
	// TLS serves STLS and implicit TLS; nil: neither. The server works on a copy that refuses versions before 1.2
	// (RFC 8314 section 4.1).
	TLS      *tls.Config
	Log      zerolog.Logger
	Observer Observer // nil: none
	Version  string   // what CAPA's IMPLEMENTATION tells a client that has logged in; may be empty
}

// Where a password may be sent without TLS: the values of Policy.Plaintext.
const (
	PlaintextLoopback = "loopback" // both ends are loopback addresses, or it is a unix socket
	PlaintextNever    = "never"
	PlaintextAlways   = "always"
)

// Policy is what may change while the server runs. A session keeps the one that it began with. A zero field stands for
// its default.
type Policy struct {
	// Plaintext is one of the constants above, PlaintextLoopback when empty; any other value counts as PlaintextNever.
	Plaintext string
	// IdleTimeout is how long a session waits for a command after login: 10 minutes, which RFC 1939 section 3 sets as
	// the least.
	IdleTimeout time.Duration
	// AuthTimeout is how long it waits for one before login, and the most that the store may take to decide a login:
	// 30 seconds.
	AuthTimeout time.Duration
	// LoginTimeout bounds the time from the greeting until a client is logged in: 2 minutes.
	LoginTimeout time.Duration
	// HandshakeTimeout bounds a TLS handshake: 30 seconds.
	HandshakeTimeout time.Duration
	// WriteTimeout ends a session whose client takes not one octet for so long: 10 minutes. A client that is slow but
	// moves is left alone.
	WriteTimeout time.Duration
	// MaxLoginFailures ends a session at that many logins without success: 10, enough for a client that tries every
	// mechanism with an old password and then asks its user.
	MaxLoginFailures int
	// MaxErrors ends a session at that many commands that are unknown, malformed or out of place: 30.
	MaxErrors int
	// MaxCommands ends a session at the command behind so many: 1,000,000, three for each message of a large maildrop.
	// QUIT is carried out nevertheless.
	MaxCommands int
	// MaxCommandLength is the longest command line that is taken, in octets with its CRLF: 255, the least that RFC 2449
	// section 4 allows, and 8 KiB at most. AUTH and the responses in its exchange may always be 8 KiB long.
	MaxCommandLength int

	// Expire is how long mail that was left on the server stays there, which CAPA's EXPIRE tells in whole days, rounded
	// down; 0: for ever. The store is who lets it expire.
	Expire time.Duration
	// LoginDelay is the time between two logins of an account that CAPA's LOGIN-DELAY tells in seconds, rounded up; 0:
	// none is told. The store is who enforces it, with store.ErrLoginDelay.
	LoginDelay time.Duration
	// SCRAM offers SCRAM-SHA-256, and under TLS 1.3 SCRAM-SHA-256-PLUS.
	SCRAM bool
	// NoNULs sends 0x80 for each NUL of a message, for clients that end a message there: Outlook.
	NoNULs bool
}

// withDefaults returns p with every zero field replaced.
func (p Policy) withDefaults() *Policy {
	orDuration := func(d *time.Duration, standard time.Duration) {
		if *d <= 0 {
			*d = standard
		}
	}
	orDuration(&p.IdleTimeout, 10*time.Minute)
	orDuration(&p.AuthTimeout, 30*time.Second)
	orDuration(&p.LoginTimeout, 2*time.Minute)
	orDuration(&p.HandshakeTimeout, 30*time.Second)
	orDuration(&p.WriteTimeout, 10*time.Minute)
	if p.Plaintext == "" {
		p.Plaintext = PlaintextLoopback
	}
	if p.MaxLoginFailures <= 0 {
		p.MaxLoginFailures = 10
	}
	if p.MaxErrors <= 0 {
		p.MaxErrors = 30
	}
	if p.MaxCommands <= 0 {
		p.MaxCommands = 1_000_000
	}
	p.MaxCommandLength = min(max(p.MaxCommandLength, leastCommandLength), maxLine)
	return &p
}

// Listener says how a connection came in.
type Listener struct {
	Name string // for logs and metrics; from the configuration, never from a client
	TLS  bool   // implicit TLS (RFC 8314 section 3.1): the handshake comes before the greeting
	// TLSInFront says that a proxy speaks TLS with the client: passwords are as safe as under TLS, and there is no STLS.
	TLSInFront bool
	// Quiet sessions are neither counted nor logged: letterbox's own look whether mail flows.
	Quiet bool
}
