package config

import (
	"slices"
	"strings"
	"testing"
)

// TestAddressesThatCannotBeServed shows that `config check` finds what would keep serve from listening.
func TestAddressesThatCannotBeServed(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{"[metrics]\nlisten = \":1 tls\"", `":1 tls" has the word tls, but HTTP is served here in clear text: leave the word out`},
		{"[metrics]\nlisten = \":1 proxy\"", `has the word proxy, but HTTP`},
		{"[metrics]\nlisten = \":1 tls-in-front\"", `has the word tls-in-front, but HTTP`},
		{"[smtp]\nlisten = \":1 proxy\"", `address ":1 proxy" in smtp.listen has the word proxy, but [proxy] trusted names no proxy: list the networks`},
		{"[smtp]\nlmtp = \"fd:a tls proxy\"", `address "fd:a tls proxy" in smtp.lmtp has the word proxy, but [proxy] trusted`},
		{"[pop3]\nlisten = \":1 proxy tls-in-front\"", `address ":1 proxy tls-in-front" in pop3.listen has the word proxy`},
		{"[smtp]\nlisten = [\":1\", \":1\"]", `address ":1" stands in smtp.listen and again in smtp.listen`},
		{"[pop3]\nlisten = [\":1\", \":1 tls\"]", `address ":1" stands in pop3.listen and again in pop3.listen`},
		{"[smtp]\nlisten = \":1\"\n[metrics]\nlisten = \":1\"", `address ":1" stands in smtp.listen and again in metrics.listen`},
		{"[smtp]\nlisten = \"fd:a\"\nlmtp = \"fd:a\"", `address "fd:a" stands in smtp.listen and again in smtp.lmtp`},
	} {
		_, err := load(t, test.file, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", test.file, err, test.want)
		}
	}
	mustLoad(t, "[smtp]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0 tls\"]\n[pop3]\nlisten = \"127.0.0.1:0\"", nil)
	mustLoad(t, "[smtp]\nlisten = \":1 proxy\"\nlmtp = \"unix:/a proxy\"\n[proxy]\ntrusted = \"192.0.2.1\"", nil)
	mustLoad(t, "[smtp]\nlmtp = \"unix:/a proxy\"", nil) // its mode says who may connect
}

// TestCanaryKeys shows what the canary's keys take, and what they refuse in one sentence.
func TestCanaryKeys(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{"every = \"500ms\"", "is less than a second: write 1s or more, or 0s for never"},
		{"every = \"25h\"", "25h is not between"},
		{"smtp = \"unix:/a\"", `address "unix:/a" is no HOST:PORT that one can connect to`},
		{"smtp = \"fd:smtp\"", `address "fd:smtp" is no HOST:PORT`},
		{"pop3 = \"localhost:0 tls\"", `address "localhost:0 tls" is no HOST:PORT`},
		{"pop3 = \"localhost\"", "is not HOST:PORT"},
	} {
		_, err := load(t, "[canary]\n"+test.file, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", test.file, err, test.want)
		}
	}
	c := mustLoad(t, "[canary]\nevery = \"5m\"\nsmtp = \"localhost:25 proxy\"\npop3 = \"[::1]:995 tls\"", nil)
	if c.Canary.Every.Minutes() != 5 || !c.Canary.SMTP.Proxy || !c.Canary.POP3.TLS || c.Canary.POP3.Text != "[::1]:995" {
		t.Errorf("%+v", c.Canary)
	}
	if c := mustLoad(t, "", nil); c.Canary != (Canary{}) {
		t.Errorf("by default: %+v", c.Canary)
	}
}

// TestExempt shows that the word local stands for addresses that no PROXY header gave, and what is listed for all.
func TestExempt(t *testing.T) {
	for _, test := range []struct {
		file         string
		own, proxied int
		text         []string
	}{
		{"", 8, 0, []string{"local"}},
		{"exempt = []", 0, 0, nil},
		{"exempt = [\"192.0.2.1\", \"local\"]", 9, 1, []string{"local", "192.0.2.1/32"}},
		{"exempt = [\"10.0.0.0/8\"]", 1, 1, []string{"10.0.0.0/8"}},
	} {
		c := mustLoad(t, "[limits]\n"+test.file+"\n", nil)
		if len(c.Limits.Exempt) != test.own || len(c.Limits.ExemptProxied) != test.proxied {
			t.Errorf("%q: %v and %v", test.file, c.Limits.Exempt, c.Limits.ExemptProxied)
		}
		if got := values(c, "limits.exempt"); !slices.Equal(got, test.text) {
			t.Errorf("%q is printed as %q", test.file, got)
		}
	}
}

// TestPasswordsInClear shows that an address where a proxy speaks TLS is warned of when others can reach it.
func TestPasswordsInClear(t *testing.T) {
	for listen, warned := range map[string]bool{
		":110 tls-in-front": true, "192.0.2.1:110 tls-in-front": true, "fd:a tls-in-front": true,
		"localhost:110 tls-in-front": false, "[::1]:110 tls-in-front": false, ":110 proxy tls-in-front": false, "unix:/a tls-in-front": false,
	} {
		c := mustLoad(t, "[proxy]\ntrusted = \"192.0.2.1\"\n[pop3]\nlisten = \""+listen+"\"", nil)
		if (len(c.Warnings) == 1) != warned {
			t.Errorf("%q: warnings %q", listen, c.Warnings)
		}
	}
}

// TestAccountsAreNeverQuoted shows that what can't be read of accounts.create stays out of the error: it may be a password.
func TestAccountsAreNeverQuoted(t *testing.T) {
	const name, form = "me@example.org", "ADDRESS:PASSWORD"
	for _, test := range []struct {
		file, env, flag, want string
	}{
		{"", name + ":tops,3cret", "", "item 2 is no account: write ADDRESS or " + form},
		{"", "", "tops3cret", "item 1 is no account: write ADDRESS or " + form},
		{"", "", "tops3cret:" + name, "item 1 is no account"},
		{"[accounts]\ncreate = [\"" + name + "\", \"tops3cret\"]", "", "", "accounts.create: item 2 is no account"},
		{"", "", "tops3cret@example.org:", "item 1 has nothing behind the colon"},
	} {
		var env, args []string
		if test.env != "" {
			env = []string{"LETTERBOX_ACCOUNTS_CREATE=" + test.env}
		}
		if test.flag != "" {
			args = []string{"--account", test.flag}
		}
		_, err := load(t, test.file, env, args...)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "3cret") {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestEmptyVariableIsNotSet shows that a variable that Compose made of ${NAME:-} leaves the layers below as they are.
func TestEmptyVariableIsNotSet(t *testing.T) {
	c := mustLoad(t, "[smtp]\nmax_recipients = 7\n", []string{
		"LETTERBOX_SMTP_MAX_RECIPIENTS=", "LETTERBOX_HOSTNAME=", "LETTERBOX_SMTP_LISTEN=", "LETTERBOX_DATA=", "LETTERBOX_CONFIG=",
	})
	if c.SMTP.MaxRecipients != 7 || c.Data != "letterbox-data" || len(c.SMTP.Listen) != 1 || c.Source("smtp.listen") != "default" {
		t.Errorf("%d %q %v from %s", c.SMTP.MaxRecipients, c.Data, c.SMTP.Listen, c.Source("smtp.listen"))
	}
}
