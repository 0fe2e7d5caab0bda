package pop3d

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"example.org/letterbox/store"
)

// exchange is the owner's side of SCRAM, for the account and, with keys that no password has, for every other name.
func (f *fakeStore) exchange(ctx context.Context, l store.Login) error {
	keys := func(password string) (scram.StoredCredentials, error) {
		client, err := scram.SHA256.NewClient("x", password, "")
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789", Iters: 4096})
	}
	server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
		if strings.EqualFold(name, testName) {
			return keys(f.password)
		}
		return keys("no password, no key")
	})
	if err != nil {
		return err
	}
	binding := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: l.Binding}
	talk := server.NewConversation()
	switch {
	case l.Mechanism == mechanismSCRAMPlus:
		talk = server.NewConversationWithChannelBindingRequired(binding)
	case l.Binding != nil:
		talk = server.NewConversationWithChannelBinding(binding)
	}
	var said []byte
	for !talk.Done() {
		heard, err := l.Exchange(ctx, said)
		if err != nil {
			return err
		}
		answer, err := talk.Step(string(heard))
		if err != nil {
			return store.ErrCredential
		}
		said = []byte(answer)
	}
	_, err = l.Exchange(ctx, said)
	return err
}

// bound dials, and makes a handshake of TLS 1.3.
func (b *bench) bound() *client {
	b.t.Helper()
	c := b.dial()
	c.want("+OK*")
	c.ask("STLS", "+OK*")
	conn := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := conn.Handshake(); err != nil {
		b.t.Fatal(err)
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
	return c
}

// scramWith logs in and returns the last reply. The initial response goes with AUTH or behind it.
func (c *client) scramWith(mechanism string, talk *scram.ClientConversation, initial bool) string {
	c.t.Helper()
	step := func(challenge string) string {
		response, err := talk.Step(challenge)
		if err != nil {
			c.t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString([]byte(response))
	}
	if initial {
		c.send("AUTH " + mechanism + " " + step("") + "\r\n")
	} else {
		c.ask("AUTH "+mechanism, "+ ")
		c.send(step("") + "\r\n")
	}
	for {
		line := c.line()
		text, more := strings.CutPrefix(line, "+ ")
		if !more {
			return line
		}
		challenge, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			c.t.Fatal(err)
		}
		response := step(string(challenge))
		if talk.Done() && !talk.Valid() {
			c.t.Fatal("the server could not prove that it has the keys")
		}
		c.send(response + "\r\n")
	}
}

func scramClient(t testing.TB, name, password, authzid string) *scram.Client {
	t.Helper()
	client, err := scram.SHA256.NewClient(name, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func withSCRAM(_ *Config, p *Policy, _ *Listener) { p.SCRAM = true }

// bindTo returns the client's view of what binds to its connection, with the first octet changed.
func bindTo(t *testing.T, c *client, change byte) scram.ChannelBinding {
	t.Helper()
	state := c.conn.(*tls.Conn).ConnectionState()
	binding, err := scram.NewTLSExporterBinding(&state)
	if err != nil {
		t.Fatal(err)
	}
	binding.Data[0] ^= change
	return binding
}

// RFC 5802 and RFC 7677, in clear and bound to a TLS connection by RFC 9266, with another implementation as the client.
func TestSCRAM(t *testing.T) {
	const in, wrong = "+OK maildrop has 1 messages (22 octets)", "-ERR [AUTH] wrong name or password"
	for _, test := range []struct {
		name, account, password, authzid string
		bound                            func(*client, *scram.Client) (string, *scram.ClientConversation)
		want                             string
	}{
		{"in clear", testName, testSecret, "", nil, in},
		{"in clear, for itself", testName, testSecret, testName, nil, in},
		{"for another", testName, testSecret, "other@example.org", nil, "-ERR [AUTH] one account can't log in for another"},
		{"wrong password", testName, "wrong", "", nil, wrong},
		{"unknown account", "nobody@example.org", testSecret, "", nil, wrong},
		{"odd name", "a,b=c@example.org", testSecret, "", nil, wrong},
		{"bound", testName, testSecret, "", func(c *client, s *scram.Client) (string, *scram.ClientConversation) {
			return mechanismSCRAMPlus, s.NewConversationWithChannelBinding(bindTo(t, c, 0))
		}, in},
		{"bound to another connection", testName, testSecret, "", func(c *client, s *scram.Client) (string, *scram.ClientConversation) {
			return mechanismSCRAMPlus, s.NewConversationWithChannelBinding(bindTo(t, c, 1))
		}, wrong},
		{"a client that can't bind", testName, testSecret, "", func(_ *client, s *scram.Client) (string, *scram.ClientConversation) {
			return mechanismSCRAM, s.NewConversation()
		}, in},
		{"-PLUS was hidden from the client", testName, testSecret, "", func(_ *client, s *scram.Client) (string, *scram.ClientConversation) {
			return mechanismSCRAM, s.NewConversationAdvertisingChannelBinding()
		}, wrong},
	} {
		for _, initial := range []bool{false, true} {
			b := serve(t, newFake(standardMail(1)...), withSCRAM)
			var c *client
			client := scramClient(t, test.account, test.password, test.authzid)
			mechanism, talk := mechanismSCRAM, client.NewConversation()
			if test.bound == nil {
				c = b.dial()
				c.want("+OK*")
			} else {
				c = b.bound()
				c.ask("CAPA", "+OK*")
				if capa := c.body(); !strings.Contains(capa, "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n") {
					t.Errorf("%s: %q", test.name, capa)
				}
				mechanism, talk = test.bound(c, client)
			}
			if got := c.scramWith(mechanism, talk, initial); got != test.want {
				t.Errorf("%s: %q, want %q", test.name, got, test.want)
			}
			c.ask("QUIT", "+OK*")
			c.closed()
			b.seen.end(t)
			result := map[bool]string{true: loginOK, false: loginCredential}[test.want == in]
			if b.seen.heard("login "+mechanism+" "+result) != 1 {
				t.Errorf("%s: %v", test.name, b.seen.lines)
			}
			if log := b.log.String(); strings.Contains(log, `"account":"`+testName+`"`) != (test.want == in) {
				t.Errorf("%s: %s", test.name, log)
			}
		}
	}
}

// The message behind server-final-message is empty (RFC 5034 section 4); the client may also find that the server does not
// have the keys, and break off. Then it is not logged in, and the maildrop is free.
func TestSCRAMLastAnswer(t *testing.T) {
	for last, want := range map[string]string{
		"*": "-ERR authentication cancelled", "eA==": "-ERR the response is not empty", "!": "-ERR the response is not base64",
		"": "+OK maildrop has 1 messages (22 octets)",
	} {
		f := newFake(standardMail(1)...)
		c := serve(t, f, withSCRAM).dial()
		c.want("+OK*")
		talk := scramClient(t, testName, testSecret, "").NewConversation()
		first, _ := talk.Step("")
		c.send("AUTH SCRAM-SHA-256 " + base64.StdEncoding.EncodeToString([]byte(first)) + "\r\n")
		challenge, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.line(), "+ "))
		final, err := talk.Step(string(challenge))
		if err != nil {
			t.Fatal(err)
		}
		c.send(base64.StdEncoding.EncodeToString([]byte(final)) + "\r\n")
		c.want("+ *")
		c.send(last + "\r\n")
		c.want(want)
		if _, locked, _ := f.state(); locked != strings.HasPrefix(want, "+OK") {
			t.Errorf("%q: locked is %t", last, locked)
		}
		c.ask("STAT", map[bool]string{true: "+OK 1 22", false: "-ERR not in this state"}[strings.HasPrefix(want, "+OK")])
	}
}

// A client that hangs up within the exchange ends the session, and a store that logs it in all the same holds no maildrop.
func TestSCRAMHangUp(t *testing.T) {
	f := newFake(standardMail(1)...)
	b := serve(t, &deafStore{f}, withSCRAM)
	c := b.dial()
	c.want("+OK*")
	c.ask("AUTH SCRAM-SHA-256", "+ ")
	c.conn.Close()
	if end := b.seen.end(t); end != "eof" {
		t.Errorf("it ended with %s", end)
	}
	if _, locked, _ := f.state(); locked {
		t.Error("the maildrop is locked")
	}
	if b.seen.heard("login SCRAM-SHA-256 ok") != 0 {
		t.Errorf("%v", b.seen.lines)
	}
}

// deafStore does not mind that an exchange fails.
type deafStore struct{ *fakeStore }

func (d *deafStore) Open(ctx context.Context, l store.Login) (store.Maildrop, error) {
	if _, err := l.Exchange(ctx, nil); err == nil {
		return nil, io.ErrUnexpectedEOF
	}
	l.Exchange, l.Name, l.Secret = nil, testName, testSecret
	return d.fakeStore.Open(ctx, l)
}

// What SCRAM says goes into no log, and a name only once the store knows it.
func TestSCRAMLogHoldsNoSecret(t *testing.T) {
	b := serve(t, newFake(), withSCRAM)
	c := b.dial()
	c.want("+OK*")
	c.scramWith(mechanismSCRAM, scramClient(t, "stranger@example.org", "hunter2", "").NewConversation(), true)
	c.ask("QUIT", "+OK*")
	c.closed()
	b.seen.end(t)
	if log := b.log.String(); strings.Contains(log, "stranger") || strings.Contains(log, "r=") {
		t.Error(log)
	}
}
