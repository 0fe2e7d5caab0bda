package smtpd

import (
	"strings"
	"time"

	"example.org/letterbox/store"
)

// What Policy.BareNewlines may say.
const (
	Normalize = "normalize"
	Refuse    = "refuse"
)

// Policy is what can change while a Server runs. A zero field stands for the default that is named beside it.
type Policy struct {
	// MaxMessageBytes is the largest message, in octets as the sender counts them (RFC 1870 section 5); 50 MiB.
	MaxMessageBytes int64
	// MaxRecipients is the number of forward-paths that one message may have; 100, the least that RFC 5321 section
	// 4.5.3.1.8 allows.
	MaxRecipients int
	// MaxHeaderBytes is the longest header, in octets of its canonical form; 256 KiB.
	MaxHeaderBytes int64
	// MaxHeaderFields is how many fields a header may have; 1000.
	MaxHeaderFields int
	// MaxHops is the number of Received fields above which a message goes in circles; 100 (RFC 5321 section 6.3).
	MaxHops int
	// BareNewlines says what becomes of a CR or LF that stands alone: Normalize (it becomes CRLF) or Refuse (550).
	BareNewlines string
	// Domains are canonical names of domains that are ours even if the store does not know them. Mail for them is then
	// deferred and not refused: the store's volume may not be mounted.
	Domains []string

	// VerifySenderDomain refuses reverse-paths whose domain does not exist or takes no mail (RFC 7505).
	VerifySenderDomain bool
	// ReverseDNS looks up the client's name, for the Received field.
	ReverseDNS bool

	// IdleTimeout is how long a client may take for one command line; 5 min (RFC 5321 section 4.5.3.2.7).
	IdleTimeout time.Duration
	// DataTimeout is how long a client may be silent inside a message; 3 min (RFC 5321 section 4.5.3.2.5).
	DataTimeout time.Duration
	// HandshakeTimeout bounds a TLS handshake; 30 s.
	HandshakeTimeout time.Duration
	// WriteTimeout is how long a reply may wait without a single octet being taken; 60 s.
	WriteTimeout time.Duration
	// MaxAge bounds a session; 4 h, in which the largest message still comes through at 4 KiB/s.
	MaxAge time.Duration
	// LeastRate is the least average rate inside a message, in octets per second, counted after DataGrace. The default
	// of 100 is a tenth of the slowest link that still carries mail, and a hundred times what a client that only wants
	// to hold a connection sends.
	LeastRate int64
	// DataGrace is how long a message may be slower than LeastRate; 1 min.
	DataGrace time.Duration
	// LostEndTimeout is the silence after which an ending of CR CR LF . CR LF is refused. It is no end of the data, but
	// its sender thinks so and would wait for the whole DataTimeout; 5 s.
	LostEndTimeout time.Duration
	// GreetingDelay is how long a client must be silent before it is greeted; 20 ms. Who speaks first is cut off.
	GreetingDelay time.Duration
	// MaxErrors is the number of commands answered with 5xx after which a session ends; 20. From half of it on, and of
	// MaxUnknown, each reply waits for Tarpit.
	MaxErrors int
	// MaxUnknown is the number of forward-paths refused with 550 after which a session ends; 20.
	MaxUnknown int
	// MaxCommands is how many commands a session may send without a message that is taken; 1000, and never less than
	// MaxRecipients and ten. Forward-paths beyond MaxRecipients count a tenth, in a transaction that has recipients.
	MaxCommands int
	// MaxWasted is how many octets a session may send without a message that is taken; 256 MiB. The largest message
	// always fits.
	MaxWasted int64
	// Tarpit is how long a reply waits that is to slow a client down; 2 s.
	Tarpit time.Duration
	// LingerTimeout is how long a connection that we close is still read from, so that our last reply is not lost to a
	// reset; 2 s.
	LingerTimeout time.Duration
}

// rules is a Policy with its defaults filled in and its domains ready to be looked up.
type rules struct {
	Policy
	local map[string]bool
}

func newRules(p Policy) *rules {
	p.MaxMessageBytes = orDefault(p.MaxMessageBytes, 50<<20)
	p.MaxRecipients = orDefault(p.MaxRecipients, 100)
	p.MaxHeaderBytes = orDefault(p.MaxHeaderBytes, 256<<10)
	p.MaxHeaderFields = orDefault(p.MaxHeaderFields, 1000)
	p.MaxHops = orDefault(p.MaxHops, 100)
	p.BareNewlines = orDefault(p.BareNewlines, Normalize)
	p.IdleTimeout = orDefault(p.IdleTimeout, 5*time.Minute)
	p.DataTimeout = orDefault(p.DataTimeout, 3*time.Minute)
	p.HandshakeTimeout = orDefault(p.HandshakeTimeout, 30*time.Second)
	p.WriteTimeout = orDefault(p.WriteTimeout, time.Minute)
	p.MaxAge = orDefault(p.MaxAge, 4*time.Hour)
	p.LeastRate = orDefault(p.LeastRate, 100)
	p.DataGrace = orDefault(p.DataGrace, time.Minute)
	p.LostEndTimeout = orDefault(p.LostEndTimeout, 5*time.Second)
	p.GreetingDelay = orDefault(p.GreetingDelay, 20*time.Millisecond)
	p.MaxErrors = orDefault(p.MaxErrors, 20)
	p.MaxUnknown = orDefault(p.MaxUnknown, 20)
	p.MaxCommands = max(orDefault(p.MaxCommands, 1000), p.MaxRecipients+10)
	p.MaxWasted = orDefault(p.MaxWasted, 256<<20)
	p.Tarpit = orDefault(p.Tarpit, 2*time.Second)
	p.LingerTimeout = orDefault(p.LingerTimeout, 2*time.Second)

	r := &rules{Policy: p, local: make(map[string]bool, len(p.Domains))}
	for _, d := range p.Domains {
		r.local[strings.ToLower(d)] = true
	}
	return r
}

// wireBudget is how many octets of one message are read at all, as they come over the wire. A message that is too large is
// read to its end and refused, so that the client hears why, but not for ever. Dot-stuffing adds a third at most, so no
// message that we would take comes near.
func (r *rules) wireBudget() int64 { return 2*r.MaxMessageBytes + 512 }

// header is what a message's header may be.
func (r *rules) header() headerBounds {
	return headerBounds{octets: r.MaxHeaderBytes, fields: r.MaxHeaderFields, hops: r.MaxHops}
}

// isLocal tells whether the forward-path's domain is listed as ours.
func (r *rules) isLocal(path string) bool {
	a, err := store.ParseAddress(path)
	return err == nil && r.local[a.Domain]
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
