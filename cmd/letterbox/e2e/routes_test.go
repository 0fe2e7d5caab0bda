package e2e

import (
	"strings"
	"testing"
)

// admin runs a command of the operator on s's data while s runs.
func admin(t *testing.T, s *server, args ...string) string {
	t.Helper()
	cmd := letterbox(t, append(args, "--data", s.data)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// TestTwoAccounts sends one message to two accounts: it arrives in both, each with its own Delivered-To.
func TestTwoAccounts(t *testing.T) {
	s := serve(t)
	raw := []byte(header + "\r\nfor both\r\n")
	id := put(t, s, raw, alice, bob)
	for _, user := range []string{alice, bob} {
		got := drain(t, s, user)
		if len(got) != 1 || got[0].uidl != id {
			t.Fatalf("%s: want one message %s, got %d", user, id, len(got))
		}
		same(t, withoutTrace(t, got[0].raw, sender, user), raw)
	}
}

// TestOneAccountTwice sends one message to an account's address, to an alias of it and to a tag: it arrives once.
func TestOneAccountTwice(t *testing.T) {
	s := serve(t)
	admin(t, s, "alias", "add", "sales@mail.example", alice)
	raw := []byte(header + "\r\nonce\r\n")
	id := put(t, s, raw, alice, "sales@mail.example", "Alice+shop@Mail.Example")
	got := drain(t, s, alice)
	if len(got) != 1 || got[0].uidl != id {
		t.Fatalf("want one message %s, got %d", id, len(got))
	}
	same(t, withoutTrace(t, got[0].raw, sender, alice), raw)
}

// TestRecipients says what becomes of each forward-path.
func TestRecipients(t *testing.T) {
	t.Parallel()
	s := serve(t)
	admin(t, s, "alias", "add", "team@mail.example", alice, bob)
	admin(t, s, "alias", "add", "@other.example", "@mail.example")
	admin(t, s, "catchall", "set", "third.example", bob)
	admin(t, s, "user", "add", "carol@mail.example", "--generate")
	admin(t, s, "user", "disable", "carol@mail.example")
	for _, c := range []struct{ to, reply string }{
		{alice, "250"},
		{"ALICE@MAIL.example", "250"},
		{"alice+tag@mail.example", "250"},
		{"team@mail.example", "250"},
		{"bob@other.example", "250"},
		{"anything@third.example", "250"},
		{"postmaster@mail.example", "250"},
		{"abuse@third.example", "250"},
		{"nobody@mail.example", "550 5.1.1"},
		{"nobody@other.example", "550 5.1.1"},
		{"alice@elsewhere.example", "550 5.7.1"},
		{"carol@mail.example", "550 5.2.1"},
	} {
		conn, err := dialSMTP(s.addr["smtp"])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.smtp("250", "MAIL FROM:<>"); err != nil {
			t.Fatal(err)
		}
		if got, err := conn.smtp(c.reply, "RCPT TO:<%s>", c.to); err != nil {
			t.Errorf("%s: got %q, want %s (%v)", c.to, got, c.reply, err)
		}
		conn.Close()
	}
}

// TestNoAccount takes no message and bounces none while the store knows nobody.
func TestNoAccount(t *testing.T) {
	data := t.TempDir() + "/data"
	s := launch(t, shape(t), data, "--smtp", "127.0.0.1:0", "--pop3", "off", "--pop3s", "off", "--metrics", "off")
	s.ready("smtp")
	if _, err := tryPut(s, []byte(header), alice); err == nil || !strings.HasPrefix(err.Error(), "reply 451 4.3.0") {
		t.Errorf("got %v, want 451 4.3.0", err)
	}
	admin(t, s, "user", "add", alice, "--generate")
	put(t, s, []byte(header), alice)
}
