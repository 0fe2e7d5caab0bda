package config

import (
	"math"
	"time"
)

func pop3Keys() []Key {
	return []Key{{
		Name: "pop3.listen", Default: []string{"localhost:2110", "localhost:2995 tls"},
		Flags: []Flag{{"pop3", wordPlain}, {"pop3s", wordTLS}},
		Text: "Where POP3 is spoken; the word `tls` behind an address means TLS from the first octet, `proxy` that a PROXY " +
			"header comes first, `tls-in-front` that a proxy speaks TLS to the client. `off` for none. " +
			"`--pop3` replaces the entries without `tls`, `--pop3s` those with it.",
		place: func(c *Config) value { return addressesValue{at: &c.POP3.Listen} },
	}, {
		Name: "pop3.plaintext", Default: one("loopback"), Reload: true,
		Text:  "Who may send a password without TLS: clients on this machine, none, or all.",
		place: func(c *Config) value { return choiceValue{&c.POP3.Plaintext, []string{"loopback", "never", "always"}} },
	}, {
		Name: "pop3.idle_timeout", Default: one("10m"), Reload: true,
		Text:  "How long a session that is logged in may wait with its next command.",
		place: func(c *Config) value { return durationValue{&c.POP3.IdleTimeout, time.Second, day} },
	}, {
		Name: "pop3.auth_timeout", Default: one("30s"), Reload: true,
		Text:  "How long a session may wait with its next command before it is logged in.",
		place: func(c *Config) value { return durationValue{&c.POP3.AuthTimeout, time.Second, day} },
	}, {
		Name: "pop3.login_timeout", Default: one("2m"), Reload: true,
		Text:  "How long a session may last until it is logged in.",
		place: func(c *Config) value { return durationValue{&c.POP3.LoginTimeout, time.Second, day} },
	}, {
		Name: "pop3.write_timeout", Default: one("10m"), Reload: true,
		Text:  "How long a reply may wait for a client that takes nothing of it; one that is slow but moves is left alone.",
		place: func(c *Config) value { return durationValue{&c.POP3.WriteTimeout, time.Second, day} },
	}, {
		Name: "pop3.max_login_failures", Default: one("10"), Reload: true,
		Text:  "Logins without success after which a session ends.",
		place: func(c *Config) value { return numberValue{&c.POP3.MaxLoginFailures, 1, math.MaxInt32} },
	}, {
		Name: "pop3.max_errors", Default: one("30"), Reload: true,
		Text:  "Commands that are unknown, malformed or out of place after which a session ends.",
		place: func(c *Config) value { return numberValue{&c.POP3.MaxErrors, 1, math.MaxInt32} },
	}, {
		Name: "pop3.max_commands", Default: one("1000000"), Reload: true,
		Text: "Commands after which a session ends, its deletions undone unless the next one is QUIT. A client that fetches and " +
			"deletes needs three for each message.",
		place: func(c *Config) value { return numberValue{&c.POP3.MaxCommands, 1000, math.MaxInt32} },
	}, {
		Name: "pop3.max_command_bytes", Default: one("255"), Reload: true,
		Text: "The longest command line that is taken, in octets with its line end, for those who have longer passwords. AUTH and " +
			"what follows it may always have 8 KiB.",
		place: func(c *Config) value { return numberValue{&c.POP3.MaxCommandBytes, 255, 8 << 10} },
	}, {
		Name: "pop3.login_delay", Default: one("0s"), Reload: true,
		Text:  "How long an account has to wait from one login to the next; clients are told (LOGIN-DELAY). `0s` for no such rule.",
		place: func(c *Config) value { return durationValue{&c.POP3.LoginDelay, 0, day} },
	}, {
		Name: "pop3.takeover_after", Default: one("60s"), Reload: true,
		Text: "How long a session must have waited for a command before a login to the same account takes its place; what the " +
			"session marked is not deleted. 10 s at least; `0s` for never.",
		place: func(c *Config) value { return durationValue{&c.POP3.TakeoverAfter, 0, day} },
	}, {
		Name: "pop3.scram", Default: one("false"), Reload: true,
		Text: "Whether SCRAM-SHA-256 is offered, and SCRAM-SHA-256-PLUS under TLS 1.3, in which the client proves that it has the " +
			"password and does not send it. Keys for it are made where a password is set in clear while this is on, for an account's " +
			"own password alone.",
		place: func(c *Config) value { return switchValue{&c.POP3.SCRAM} },
	}, {
		Name: "pop3.workarounds", Reload: true,
		Text: "What is done for the sake of single clients. `outlook-no-nuls` sends 0x80 for each NUL in a message: Outlook hangs " +
			"at a NUL.",
		place: func(c *Config) value {
			return choicesValue{&c.POP3.Workarounds, "workarounds", []string{WorkaroundNoNULs}}
		},
	}}
}
