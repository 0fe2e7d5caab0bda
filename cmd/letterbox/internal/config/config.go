// Package config is letterbox's configuration. One table of keys, in table.go, holds each key's name, type, default, flag
// and text; the file, the environment, the flags, the reference, `config show` and `config check` are made from it.
//
// A value comes from the highest of four layers: flag, environment, file, default. A list given in a layer replaces the
// list of the layers below, with one exception, so that one kind of listener can be moved without naming the other: the
// flags --smtp and --pop3 replace only the entries without the word tls, and --smtps and --pop3s only those with it.
package config

import (
	"net/netip"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/listen"
)

// Config is one consistent set of values, all checked. Sizes are in octets.
type Config struct {
	Hostname string // what the daemons call themselves
	Data     string // the data folder, an absolute path or one that is relative to the working directory
	Run      string // the folder of the sockets; empty for the default, which depends on the machine

	SMTP     SMTP
	POP3     POP3
	TLS      TLS
	Proxy    Proxy
	Limits   Limits
	Store    Store
	Keep     Keep
	Backup   Backup
	Metrics  Metrics
	Canary   Canary
	Log      Log
	Accounts Accounts

	// File is the configuration file that was read, empty where there was none.
	File string
	// Warnings are sentences about what is allowed but hardly meant.
	Warnings []string

	settings []Setting
}

// SMTP is the section of the receiver.
type SMTP struct {
	Listen          []listen.Address
	LMTP            []listen.Address
	Domains         []string // canonical
	MaxMessageBytes int64
	MaxRecipients   int
	MaxHeaderBytes  int64
	MaxHeaderFields int
	MaxHops         int
	BareNewlines    string // normalize or refuse
	IdleTimeout     time.Duration
	DataTimeout     time.Duration
	MaxAge          time.Duration
	LeastRate       int // octets per second
	LeastRateAfter  time.Duration
	WriteTimeout    time.Duration

	VerifySenderDomain string // off or on
	ReverseDNS         string // off or on
	GreetingDelay      time.Duration
	MaxErrors          int
	MaxUnknown         int
	MaxCommands        int
	MaxWasted          int64 // octets
	Tarpit             time.Duration
}

// POP3 is the section of the daemon that hands mail out.
type POP3 struct {
	Listen           []listen.Address
	Plaintext        string // loopback, never or always
	IdleTimeout      time.Duration
	AuthTimeout      time.Duration
	LoginTimeout     time.Duration
	WriteTimeout     time.Duration
	MaxLoginFailures int
	MaxErrors        int
	MaxCommands      int
	MaxCommandBytes  int
	LoginDelay       time.Duration // 0: none
	TakeoverAfter    time.Duration // 0: never
	SCRAM            bool
	Workarounds      []string // names of WorkaroundNoNULs
}

// WorkaroundNoNULs in POP3.Workarounds is what Dovecot calls by that name, too: NUL is sent as 0x80.
const WorkaroundNoNULs = "outlook-no-nuls"

// TLS names the certificate's files, both empty for a self-signed one, and bounds handshakes.
type TLS struct {
	Cert, Key        string
	HandshakeTimeout time.Duration
}

// Proxy says which proxies are believed.
type Proxy struct {
	Trusted []netip.Prefix
	Timeout time.Duration
}

// Limits bounds what strangers can make the process spend.
type Limits struct {
	PasswordHashMemory       int64
	MaxConnections           int
	MaxConnectionsPerAddress int // 0: no bound
	MaxRatePerAddress        int // a minute; 0: no bound
	// Exempt is for an address that is the connection's own, ExemptProxied, which is part of it, for one that a PROXY
	// header gave.
	Exempt, ExemptProxied []netip.Prefix
	LoginFreeFailures     int
	LoginMaxDelay         time.Duration // 0: no delay
	LoginBanAfter         int           // 0: never
	LoginBanTime          time.Duration
}

// Store is the section of the store on disk.
type Store struct {
	BodyMemory int64
}

// Keep is what the sections retention and quota say: how long mail is kept, and how much. 0 stands for no bound.
type Keep struct {
	ExpireAfter     time.Duration
	UndeleteFor     time.Duration
	HistoryFor      time.Duration // 0: no history
	HistoryBytes    int64
	AccountBytes    int64
	AccountMessages int
	TotalBytes      int64
	TotalMessages   int
}

// Backup says which backups the owner of the store makes by itself.
type Backup struct {
	To    string // a folder; empty: none are made
	Every time.Duration
	Keep  int
}

// Metrics is the section of the monitoring listeners.
type Metrics struct {
	Listen       []listen.Address // of serve and store
	SMTPD, POP3D []listen.Address // of these roles as processes of their own
	WebConfig    string           // path of exporter-toolkit's web configuration; empty: plain HTTP for all
	PerAccount   bool             // series for each account
	Pprof        bool             // Go's profiles
}

// Canary is the section of letterbox's own look whether mail flows.
type Canary struct {
	Every time.Duration // 0: only when it is asked
	// SMTP and POP3 are where it connects; the zero Address stands for a listener of the configuration.
	SMTP, POP3 listen.Address
}

// Log says what is logged and how.
type Log struct {
	Level  string
	Format string
}

// Accounts names the accounts that serve makes when they are not there.
type Accounts struct {
	Create []NewAccount
}

// NewAccount is one account to make. An empty Password stands for one that is generated.
type NewAccount struct {
	Address, Password string
}

// Setting is one key's value as it was resolved.
type Setting struct {
	Key    Key
	Value  []string // one item unless the key is a list; secrets are hidden
	Source string   // default, a file and line, $VARIABLE or --flag
}

// Settings returns every key in the table's order with its value and where it came from.
func (c *Config) Settings() []Setting { return c.settings }

// Source says where the value of the key came from; empty for a key that is not in the table.
func (c *Config) Source(name string) string { return c.setting(name).Source }

// Value returns the key's value as texts; nil for a key that is not in the table.
func (c *Config) Value(name string) []string { return c.setting(name).Value }

func (c *Config) setting(name string) Setting {
	for _, s := range c.settings {
		if s.Key.Name == name {
			return s
		}
	}
	return Setting{}
}

// Changed returns the names of the keys whose values differ between c and next and that only a restart brings into
// force, in the table's order.
func (c *Config) Changed(next *Config) []string {
	var names []string
	for i, s := range c.settings {
		if !s.Key.Reload && strings.Join(s.Value, "\x00") != strings.Join(next.settings[i].Value, "\x00") {
			names = append(names, s.Key.Name)
		}
	}
	return names
}
