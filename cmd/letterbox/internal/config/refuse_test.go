package config

import (
	"strings"
	"testing"
)

// TestAddressesThatCannotBeServed shows that `config check` finds what would keep serve from listening.
func TestAddressesThatCannotBeServed(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{"[metrics]\nlisten = \":1 tls\"", `":1 tls" has the word tls, but HTTP is served here in clear text: leave the word out`},
		{"[metrics]\nlisten = \":1 proxy\"", `has the word proxy, but HTTP`},
		{"[metrics]\nlisten = \":1 tls-in-front\"", `has the word tls-in-front, but HTTP`},
		{"[smtp]\nlisten = \":1 proxy\"", `":1 proxy" has the word proxy, but PROXY headers are not supported yet: leave the word out`},
		{"[smtp]\nlmtp = \"unix:/a tls proxy\"", `has the word proxy, but PROXY`},
		{"[pop3]\nlisten = \":1 tls-in-front\"", `has the word tls-in-front, but PROXY`},
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
