package config

import (
	"errors"
	"fmt"
	"net"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/listen"
)

// canaryKeys are those of letterbox's own look whether mail flows.
func canaryKeys() []Key {
	return []Key{{
		Name: "canary.every", Default: one("0s"), Reload: true,
		Text: "How often letterbox looks whether mail flows: a message of its own goes in by SMTP and STARTTLS, is fetched by POP3 and TLS, and deleted. " +
			"It is counted in `letterbox_canary_*` alone. `serve` and `store` do it, over loopback. At least `1s`; `0s` for never but by `letterbox canary`.",
		place: func(c *Config) value { return intervalValue{&c.Canary.Every} },
	}, {
		Name: "canary.smtp", Default: one(""),
		Text: "`HOST:PORT` and the words of the listener, where the canary sends. It has to be on this machine. The default is the first of `[smtp] listen` that " +
			"has a port, one with STARTTLS before others; needed where `store` runs by itself and that names a socket of systemd (`fd:NAME`) or port 0.",
		place: func(c *Config) value { return placeValue{&c.Canary.SMTP} },
	}, {
		Name: "canary.pop3", Default: one(""),
		Text:  "The same of POP3, where the canary fetches. The default is the first of `[pop3] listen` that has a port, one with `tls` before others.",
		place: func(c *Config) value { return placeValue{&c.Canary.POP3} },
	}}
}

// intervalValue is a duration that is 0 or a second at least.
type intervalValue struct{ at *time.Duration }

func (v intervalValue) duration() durationValue { return durationValue{v.at, 0, day} }

func (v intervalValue) kind() string   { return v.duration().kind() }
func (v intervalValue) list() bool     { return false }
func (v intervalValue) text() []string { return v.duration().text() }
func (v intervalValue) set(items []string, base string) error {
	if err := v.duration().set(items, base); err != nil {
		return err
	}
	if d := *v.at; d > 0 && d < time.Second {
		return errors.New("is less than a second: write 1s or more, or 0s for never")
	}
	return nil
}

// placeValue is one address that somebody can connect to, or none.
type placeValue struct{ at *listen.Address }

func (v placeValue) kind() string { return "address" }
func (v placeValue) list() bool   { return false }
func (v placeValue) text() []string {
	if *v.at == (listen.Address{}) {
		return []string{""}
	}
	return []string{v.at.String()}
}

func (v placeValue) set(items []string, _ string) error {
	*v.at = listen.Address{}
	if items[0] == "" {
		return nil
	}
	a, err := listen.Parse(items[0])
	if err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(a.Text); a.Network != "tcp" || err != nil || port == "0" {
		return fmt.Errorf("address %q is no HOST:PORT that one can connect to", a)
	}
	*v.at = a
	return nil
}
