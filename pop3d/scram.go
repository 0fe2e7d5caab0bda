package pop3d

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"example.org/letterbox/store"
)

// binding returns what binds a login to the TLS connection (RFC 9266 section 2), nil where nothing does. Under TLS 1.2 nothing
// does: there clients go by tls-unique (RFC 9266 section 3) and would fail with -PLUS where they succeed without. Nor does
// it where a proxy speaks TLS: its connection with the client is not ours.
func (s *session) binding() []byte {
	if s.tls == nil || !s.policy.SCRAM {
		return nil
	}
	state := s.tls.ConnectionState()
	if state.Version != tls.VersionTLS13 {
		return nil
	}
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil
	}
	return data
}

// scram is SCRAM-SHA-256 (RFC 7677), scramPlus is SCRAM-SHA-256-PLUS.
func (s *session) scram(initial []byte) reply     { return s.exchange(mechanismSCRAM, initial) }
func (s *session) scramPlus(initial []byte) reply { return s.exchange(mechanismSCRAMPlus, initial) }

// exchange lets the store's owner, who alone has the keys, hold a SCRAM exchange with the client. The owner is given the
// binding with either mechanism: a client that says that -PLUS was not offered (RFC 5802 section 6) was shown another list.
func (s *session) exchange(mechanism string, initial []byte) reply {
	c := &carrier{s: s, mechanism: mechanism, initial: initial}
	// What the client may take is bound by the session's own timers; the store's time comes on top.
	ctx, cancel := context.WithDeadline(s.context(), s.began.Add(s.policy.LoginTimeout+s.policy.AuthTimeout))
	defer cancel()
	m, err := s.srv.config.Store.Open(ctx, store.Login{
		Session: s.id, Peer: s.remote, Proxied: s.proxied, TLS: s.secure(), Mechanism: mechanism, Exchange: c.carry, Binding: s.binding(),
	})
	switch {
	case c.failed && err == nil:
		_ = m.Close() // a store that logs in a client that gave up; the maildrop is free again, whatever Close says
		return c.failure
	case c.failed:
		return c.failure
	case err != nil:
		return s.refuse(mechanism, err)
	}
	return s.enter(m, mechanism, c.name)
}

// errBrokenOff ends an exchange on the client's side. The reply stands in the carrier.
var errBrokenOff = errors.New("the client broke the exchange off")

// carrier takes the messages of one SCRAM exchange to the client and back. It looks at the client's first one alone, which
// holds no secret.
type carrier struct {
	s         *session
	mechanism string
	initial   []byte // the first message where it came with AUTH, else nil
	begun     bool
	name      string // the account that the client names, for the log
	failed    bool
	failure   reply // what the client is told then
}

// carry is the store's Login.Exchange.
func (c *carrier) carry(_ context.Context, server []byte) ([]byte, error) {
	if c.failed {
		return nil, errBrokenOff
	}
	response, first := c.initial, !c.begun
	c.begun = true
	if !first || response == nil {
		var ok bool
		if response, c.failure, ok = c.s.challenge(server); !ok {
			return nil, c.fail(c.failure)
		}
	}
	if first {
		if failure, ok := c.check(string(response)); !ok {
			return nil, c.fail(failure)
		}
	}
	// POP3 can't send data along with +OK, so the last message is a challenge, too (RFC 5034 section 4).
	if bytes.HasPrefix(server, []byte("v=")) && len(response) > 0 {
		return nil, c.fail(rejected("the response is not empty"))
	}
	return response, nil
}

func (c *carrier) fail(r reply) error {
	c.failed, c.failure = true, r
	return errBrokenOff
}

// check reads the names in the client-first-message (RFC 5802 section 7).
func (c *carrier) check(first string) (reply, bool) {
	parts := strings.SplitN(first, ",", 4) // gs2-cbind-flag, authzid, username, the rest
	if len(parts) < 4 {
		return rejected("malformed response"), false
	}
	c.name = saslName(parts[2], "n=")
	return c.s.forItself(c.mechanism, saslName(parts[1], "a="), c.name)
}

// saslName reads an attribute that holds a saslname (RFC 5802 section 7).
func saslName(attribute, key string) string {
	name, ok := strings.CutPrefix(attribute, key)
	if !ok {
		return ""
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
}

// secure tells whether TLS protects what is sent between the client and us or a proxy.
func (s *session) secure() bool { return s.tls != nil || s.listener.TLSInFront }
