package config

import (
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"example.org/letterbox/store"
)

// Key is one row of the table.
type Key struct {
	Name    string   // section.key, or key alone for those that stand above all sections
	Default []string // as the file would have it
	Flags   []Flag
	Reload  bool   // SIGHUP brings a new value into force
	Secret  bool   // part of the value is hidden wherever it is printed
	Text    string // one or two sentences for the reference

	place func(*Config) value
}

// Flag is one flag that sets a key.
type Flag struct {
	Name string
	// Word narrows the flag to part of a list of addresses: with wordTLS it replaces the entries of lower layers that have
	// that word, with wordPlain the others, and with neither all of them.
	Word string
}

// The keys whose defaults are made from another key's value.
const (
	keyMetricsSMTPD = "metrics.smtpd"
	keyMetricsPOP3D = "metrics.pop3d"
)

// The parts of a list of addresses that a flag may be for.
const (
	wordPlain = "plain"
	wordTLS   = "tls"
)

// Section returns the part of the name before the dot, empty for a key that stands above all sections.
func (k Key) Section() string {
	if section, _, ok := strings.Cut(k.Name, "."); ok {
		return section
	}
	return ""
}

// Env returns the name of the environment variable that sets the key.
func (k Key) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// Kind returns the word for the type of the key's value, and whether it is a list.
func (k Key) Kind() (word string, list bool) {
	v := k.place(&Config{})
	return v.kind(), v.list()
}

const envPrefix = "LETTERBOX_"

func one(s string) []string { return []string{s} }

// Keys returns the table in the order of the reference.
func Keys() []Key {
	var keys []Key
	for _, section := range [][]Key{generalKeys(), smtpKeys(), senderKeys(), pop3Keys(), tlsKeys(), proxyKeys(), boundKeys(), keepKeys(), backupKeys(), outerKeys()} {
		keys = append(keys, section...)
	}
	return keys
}

func generalKeys() []Key {
	return []Key{{
		Name: "hostname", Default: one(defaultHostname()), Flags: []Flag{{Name: "hostname"}},
		Text: "What the daemons call themselves in greetings and trace fields: a domain name or an address literal. " +
			"The default is the machine's name if it holds a dot, else `localhost`.",
		place: func(c *Config) value { return textValue{&c.Hostname, hostname} },
	}, {
		Name: "data", Default: one("letterbox-data"), Flags: []Flag{{Name: "data"}},
		Text:  "The data folder. In a file it is relative to the file's own folder, elsewhere to the working directory.",
		place: func(c *Config) value { return pathValue{&c.Data} },
	}, {
		Name: "run", Default: one(""), Flags: []Flag{{Name: "run"}},
		Text: "The folder of the sockets by which the processes and the commands reach each other; it has to be there. The default is " +
			"`/run/letterbox` where that folder is there, belongs to the owner of the data folder and serves no other one, else the " +
			"data folder. In a file it is relative to the file's own folder.",
		place: func(c *Config) value { return pathValue{&c.Run} },
	}}
}

func smtpKeys() []Key {
	return []Key{{
		Name: "smtp.listen", Default: one("localhost:2525"),
		Flags: []Flag{{"smtp", wordPlain}, {"smtps", wordTLS}},
		Text: "Where SMTP is spoken; the word `tls` behind an address means TLS from the first octet, `proxy` that a PROXY " +
			"header comes first, `tls-in-front` that a proxy speaks TLS to the client. `off` for none. " +
			"`--smtp` replaces the entries without `tls`, `--smtps` those with it.",
		place: func(c *Config) value { return addressesValue{at: &c.SMTP.Listen} },
	}, {
		Name: "smtp.lmtp", Default: one(off), Flags: []Flag{{Name: "lmtp"}},
		Text:  "Where LMTP is spoken, for a filter or another mail server in front.",
		place: func(c *Config) value { return addressesValue{at: &c.SMTP.LMTP} },
	}, {
		Name: "smtp.domains", Reload: true,
		Text: "Domains that are ours even while the store knows no address in them: their mail is then put off instead of " +
			"refused. A domain with an account, an alias or a catch-all need not stand here.",
		place: func(c *Config) value { return domainsValue{&c.SMTP.Domains} },
	}, {
		Name: "smtp.max_message_bytes", Default: one("50MiB"), Flags: []Flag{{Name: "max-message-bytes"}}, Reload: true,
		Text:  "The largest message that is taken, as the sender counts it.",
		place: func(c *Config) value { return sizeValue{&c.SMTP.MaxMessageBytes, 64 << 10, 1 << 30} },
	}, {
		Name: "smtp.max_recipients", Default: one("100"), Reload: true,
		Text:  "Recipients of one message; the sender is told to send the rest in another transaction.",
		place: func(c *Config) value { return numberValue{&c.SMTP.MaxRecipients, 1, store.MaxRecipients} },
	}, {
		Name: "smtp.max_header_bytes", Default: one("256KiB"), Reload: true,
		Text:  "The longest header of a message that is taken.",
		place: func(c *Config) value { return sizeValue{&c.SMTP.MaxHeaderBytes, 4 << 10, 1 << 30} },
	}, {
		Name: "smtp.max_header_fields", Default: one("1000"), Reload: true,
		Text:  "How many fields that header may have.",
		place: func(c *Config) value { return numberValue{&c.SMTP.MaxHeaderFields, 10, math.MaxInt32} },
	}, {
		Name: "smtp.max_hops", Default: one("100"), Reload: true,
		Text:  "How many `Received` fields it may have, 100 at least; with more the message goes in circles.",
		place: func(c *Config) value { return numberValue{&c.SMTP.MaxHops, 100, math.MaxInt32} },
	}, {
		Name: "smtp.bare_newlines", Default: one("normalize"), Reload: true,
		Text:  "What becomes of a CR or LF that stands alone: made CRLF, or the message is refused.",
		place: func(c *Config) value { return choiceValue{&c.SMTP.BareNewlines, []string{"normalize", "refuse"}} },
	}, {
		Name: "smtp.idle_timeout", Default: one("5m"), Reload: true,
		Text:  "How long a session may wait with its next command.",
		place: func(c *Config) value { return durationValue{&c.SMTP.IdleTimeout, time.Second, day} },
	}, {
		Name: "smtp.data_timeout", Default: one("3m"), Reload: true,
		Text:  "How long a sender may pause within a message.",
		place: func(c *Config) value { return durationValue{&c.SMTP.DataTimeout, time.Second, day} },
	}, {
		Name: "smtp.max_age", Default: one("4h"), Reload: true,
		Text:  "How long a session may last.",
		place: func(c *Config) value { return durationValue{&c.SMTP.MaxAge, time.Minute, 7 * day} },
	}, {
		Name: "smtp.least_rate", Default: one("100"), Reload: true,
		Text:  "Octets per second that a sender must keep up within a message, on average, after `least_rate_after`.",
		place: func(c *Config) value { return numberValue{&c.SMTP.LeastRate, 1, 1 << 30} },
	}, {
		Name: "smtp.least_rate_after", Default: one("1m"), Reload: true,
		Text:  "How long a sender may be slower than that at the beginning of a message.",
		place: func(c *Config) value { return durationValue{&c.SMTP.LeastRateAfter, time.Second, day} },
	}, {
		Name: "smtp.write_timeout", Default: one("60s"), Reload: true,
		Text:  "How long a reply may wait for a client that takes nothing of it.",
		place: func(c *Config) value { return durationValue{&c.SMTP.WriteTimeout, time.Second, day} },
	}}
}

// senderKeys are about clients that may be anybody.
func senderKeys() []Key {
	return []Key{{
		Name: "smtp.verify_sender_domain", Default: one(off), Reload: true,
		Text: "Refuse senders whose domain does not exist or says that it takes no mail, by asking the DNS; while the DNS does " +
			"not answer, their mail is put off.",
		place: func(c *Config) value { return choiceValue{&c.SMTP.VerifySenderDomain, []string{off, "on"}} },
	}, {
		Name: "smtp.reverse_dns", Default: one(off), Reload: true,
		Text: "Look up the name of a client's address for the `Received` field. It stands there only if the name has that " +
			"address too.",
		place: func(c *Config) value { return choiceValue{&c.SMTP.ReverseDNS, []string{off, "on"}} },
	}, {
		Name: "smtp.greeting_delay", Default: one("20ms"), Reload: true,
		Text: "How long a client must be silent before it is greeted. One that speaks first is cut off: it speaks another " +
			"protocol, or does not care what it is told. Not for LMTP and `tls`.",
		place: func(c *Config) value { return durationValue{&c.SMTP.GreetingDelay, time.Millisecond, time.Minute} },
	}, {
		Name: "smtp.max_errors", Default: one("20"), Reload: true,
		Text:  "Commands answered with 5xx after which a session ends with 421; from half of it on replies are slow. Not for LMTP.",
		place: func(c *Config) value { return numberValue{&c.SMTP.MaxErrors, 1, math.MaxInt32} },
	}, {
		Name: "smtp.max_unknown_recipients", Default: one("20"), Reload: true,
		Text:  "Recipients refused with 550 after which a session ends with 421; from half of it on replies are slow. Not for LMTP.",
		place: func(c *Config) value { return numberValue{&c.SMTP.MaxUnknown, 1, math.MaxInt32} },
	}, {
		Name: "smtp.max_commands", Default: one("1000"), Reload: true,
		Text:  "Commands after which a session ends with 421 if no message was taken meanwhile; never less than `max_recipients` and ten. Not for LMTP.",
		place: func(c *Config) value { return numberValue{&c.SMTP.MaxCommands, 10, math.MaxInt32} },
	}, {
		Name: "smtp.max_wasted_bytes", Default: one("256MiB"), Reload: true,
		Text: "Bytes after which a session ends with 421 if no message was taken meanwhile. Never less than twice " +
			"`max_message_bytes`. Not for LMTP.",
		place: func(c *Config) value { return sizeValue{&c.SMTP.MaxWasted, 1 << 20, 1 << 40} },
	}, {
		Name: "smtp.tarpit", Default: one("2s"), Reload: true,
		Text:  "How long a slow reply takes.",
		place: func(c *Config) value { return durationValue{&c.SMTP.Tarpit, time.Millisecond, time.Minute} },
	}}
}

func tlsKeys() []Key {
	return []Key{{
		Name: "tls.cert", Default: one(""), Flags: []Flag{{Name: "tls-cert"}},
		Text: "The certificate's file with its chain, PEM. Without one a self-signed certificate is made and kept in the " +
			"data folder; `store` leaves a copy in the folder `run` for `smtpd` and `pop3d`. The file is read again at SIGHUP.",
		place: func(c *Config) value { return pathValue{&c.TLS.Cert} },
	}, {
		Name: "tls.key", Default: one(""), Flags: []Flag{{Name: "tls-key"}},
		Text:  "The certificate's private key, PEM.",
		place: func(c *Config) value { return pathValue{&c.TLS.Key} },
	}, {
		Name: "tls.handshake_timeout", Default: one("30s"), Reload: true,
		Text:  "How long a client may take for its TLS handshake.",
		place: func(c *Config) value { return durationValue{&c.TLS.HandshakeTimeout, time.Second, time.Hour} },
	}}
}

func proxyKeys() []Key {
	return []Key{{
		Name: "proxy.trusted", Reload: true,
		Text: "Networks of the proxies that may connect to addresses with the word `proxy`; all others are closed unheard, since " +
			"a PROXY header can name any client. On a unix socket the file's mode decides.",
		place: func(c *Config) value { return networksValue{&c.Proxy.Trusted} },
	}, {
		Name: "proxy.timeout", Default: one("5s"), Reload: true,
		Text:  "How long a proxy may take for the PROXY header.",
		place: func(c *Config) value { return durationValue{&c.Proxy.Timeout, 100 * time.Millisecond, time.Minute} },
	}}
}

func boundKeys() []Key {
	return []Key{{
		Name: "limits.password_hash_memory", Default: one("64MiB"),
		Text: "Memory for checking passwords at the same time; one check costs 19 MiB.",
		// One hash of our own must fit, or every login would wait for the whole.
		place: func(c *Config) value { return sizeValue{&c.Limits.PasswordHashMemory, 19 << 20, 64 << 30} },
	}, {
		Name: "limits.max_connections", Default: one("2000"), Reload: true,
		Text:  "Connections to all mail listeners of a process together; further ones are told to come back later.",
		place: func(c *Config) value { return numberValue{&c.Limits.MaxConnections, 1, math.MaxInt32} },
	}, {
		Name: "limits.max_connections_per_address", Default: one("20"), Reload: true,
		Text:  "Connections from one address, an IPv6 /64 counting as one; 0 for no bound.",
		place: func(c *Config) value { return numberValue{&c.Limits.MaxConnectionsPerAddress, 0, math.MaxInt32} },
	}, {
		Name: "limits.max_rate_per_address", Default: one("600"), Reload: true,
		Text:  "Connections that one address may open within a minute, an IPv6 /64 counting as one; 0 for no bound.",
		place: func(c *Config) value { return numberValue{&c.Limits.MaxRatePerAddress, 0, math.MaxInt32} },
	}, {
		Name: "limits.exempt", Reload: true, Default: one(wordLocal),
		Text: "Networks that are free of the bounds per address: of connections, and of failed logins. The word `local` stands for loopback, private and link-local " +
			"addresses, unless a PROXY header gave them: behind a container's bridge or a NAT all clients share one. A network " +
			"that is listed is free however its address came.",
		place: func(c *Config) value { return exemptValue{&c.Limits.Exempt, &c.Limits.ExemptProxied} },
	}, {
		Name: "limits.login_free_failures", Default: one("5"), Reload: true,
		Text: "Failed logins, of one address and at one account, that cost nothing. From then on there is a time between two " +
			"attempts, 1 s at first and doubled by each failure; one secret counts once. An address that logged in to an account within 30 " +
			"days is counted apart from strangers there.",
		place: func(c *Config) value { return numberValue{&c.Limits.LoginFreeFailures, 0, 1000} },
	}, {
		Name: "limits.login_max_delay", Default: one("10s"), Reload: true,
		Text:  "The longest time between two attempts. One that would have to wait longer is told to try again later. Shorter than `[pop3] auth_timeout`; `0s` for no delay.",
		place: func(c *Config) value { return durationValue{&c.Limits.LoginMaxDelay, 0, 20 * time.Second} },
	}, {
		Name: "limits.login_ban_after", Default: one("20"), Reload: true,
		Text:  "Failed logins after which an address, an IPv6 /64 counting as one, may not log in for a while; 0 for never.",
		place: func(c *Config) value { return numberValue{&c.Limits.LoginBanAfter, 0, math.MaxInt32} },
	}, {
		Name: "limits.login_ban_time", Default: one("15m"), Reload: true,
		Text:  "How long it may not, and how long after the last of them failed logins are forgotten.",
		place: func(c *Config) value { return durationValue{&c.Limits.LoginBanTime, time.Minute, 7 * day} },
	}, {
		Name: "store.body_memory", Default: one("64MiB"),
		Text:  "Memory for the bodies of all messages that are arriving. What does not fit, and every body over 1 MiB, goes to a file while it arrives.",
		place: func(c *Config) value { return sizeValue{&c.Store.BodyMemory, 1 << 20, 64 << 30} },
	}}
}

func outerKeys() []Key {
	return slices.Insert([]Key{{
		Name: "metrics.listen", Default: one("localhost:9725"), Flags: []Flag{{Name: "metrics"}},
		Text:  "Where `serve` and `store` serve `/metrics`, `/healthz` and `/readyz` over HTTP. `off` for none.",
		place: func(c *Config) value { return addressesValue{at: &c.Metrics.Listen, bare: true} },
	}, {
		Name: keyMetricsSMTPD, Flags: []Flag{{Name: "metrics-smtpd"}},
		Text: "The same of `smtpd` as a process of its own. The default is each `HOST:PORT` of `listen` with the port one higher, so " +
			"`localhost:9726`.",
		place: func(c *Config) value { return addressesValue{at: &c.Metrics.SMTPD, bare: true} },
	}, {
		Name: keyMetricsPOP3D, Flags: []Flag{{Name: "metrics-pop3d"}},
		Text: "The same of `pop3d` as a process of its own. The default is each `HOST:PORT` of `listen` with the port two higher, so " +
			"`localhost:9727`.",
		place: func(c *Config) value { return addressesValue{at: &c.Metrics.POP3D, bare: true} },
	}, {
		Name: "log.level", Default: one("info"), Flags: []Flag{{Name: "log-level"}}, Reload: true,
		Text:  "The least level that is logged.",
		place: func(c *Config) value { return choiceValue{&c.Log.Level, []string{"debug", "info", "warn", "error"}} },
	}, {
		Name: "log.format", Default: one("auto"), Flags: []Flag{{Name: "log-format"}},
		Text: "`auto` is `console` on a terminal, `journald` under systemd (JSON with the level in front), else `json`.",
		place: func(c *Config) value {
			return choiceValue{&c.Log.Format, []string{"auto", "json", "console", "journald"}}
		},
	}, {
		Name: "accounts.create", Flags: []Flag{{Name: "account"}}, Secret: true,
		Text: "`ADDRESS[:PASSWORD]`: accounts that `serve` and `store` make when they are not there. Without a password one is generated " +
			"and printed once. An account that exists is left alone. A comma can't stand in the variable's passwords: it ends " +
			"the item.",
		place: func(c *Config) value { return accountsValue{&c.Accounts.Create} },
	}}, 3, append(webKeys(), canaryKeys()...)...)
}

// defaultHostname is the machine's name if it may be a fully qualified one: a bare name such as "nas" or a container's id
// says nothing to a peer, and would be a new one, with a new certificate, for each container.
func defaultHostname() string {
	name, err := os.Hostname()
	if err != nil || !strings.Contains(name, ".") {
		return "localhost"
	}
	if name, err = store.ParseDomain(name); err != nil {
		return "localhost"
	}
	return name
}
