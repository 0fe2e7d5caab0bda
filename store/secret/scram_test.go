package secret

import (
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

const scramPassword = "open ſesame" // SASLprep makes an s of the ſ

// cheapKeys are keys of few iterations, for tests of what is not their cost.
func cheapKeys(t *testing.T, password string) string {
	t.Helper()
	c, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "saltsaltsaltsalt", Iters: minIterations})
	if err != nil {
		t.Fatal(err)
	}
	return formatSCRAM(keys)
}

// talk runs one exchange and returns the server-first-message.
func talk(t *testing.T, client *scram.ClientConversation, server *SCRAM) (first string, err error) {
	t.Helper()
	message, err := client.Step("")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.First([]byte(message))
	if err != nil {
		return "", err
	}
	first = string(answer)
	if message, err = client.Step(first); err != nil {
		t.Fatal(err)
	}
	if answer, err = server.Final([]byte(message)); err != nil {
		return first, err
	}
	if _, err := client.Step(string(answer)); err != nil || !client.Valid() {
		t.Errorf("the client does not trust the server: %v", err)
	}
	return first, nil
}

func TestSCRAM(t *testing.T) {
	keys := cheapKeys(t, scramPassword)
	find := func(name string) (string, string) {
		if name == "me@here.example" {
			return name, keys
		}
		return strings.ToLower(name), ""
	}
	client := func(name, password, authz string) *scram.Client {
		c, err := scram.SHA256.NewClient(name, password, authz)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	binding := []byte("0123456789abcdef0123456789abcdef")
	channel := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: binding}
	other := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("another channel")}
	me := client("me@here.example", scramPassword, "")
	for name, c := range map[string]struct {
		client   *scram.ClientConversation
		binding  []byte
		required bool
		ok       bool
	}{
		"right":                         {client: me.NewConversation(), ok: true},
		"password in its other form":    {client: client("me@here.example", "open sesame", "").NewConversation(), ok: true},
		"wrong password":                {client: client("me@here.example", "open", "").NewConversation()},
		"bound":                         {client: me.NewConversationWithChannelBinding(channel), binding: binding, required: true, ok: true},
		"bound to another channel":      {client: me.NewConversationWithChannelBinding(other), binding: binding, required: true},
		"bound where nothing binds":     {client: me.NewConversationWithChannelBinding(channel)},
		"not bound, as it chose":        {client: me.NewConversation(), binding: binding, ok: true},
		"not bound, and it said so":     {client: me.NewConversation(), binding: binding, required: true},
		"the offer of PLUS was hidden":  {client: me.NewConversationAdvertisingChannelBinding(), binding: binding},
		"PLUS was not offered, rightly": {client: me.NewConversationAdvertisingChannelBinding(), ok: true},
	} {
		server, err := NewSCRAM(find, []byte("fake"), c.binding, c.required)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := talk(t, c.client, server); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	server, _ := NewSCRAM(find, nil, nil, false)
	talk(t, client("me@here.example", scramPassword, "you@here.example").NewConversation(), server)
	if server.Name() != "me@here.example" || server.Authorized() != "you@here.example" {
		t.Errorf("%q for %q", server.Name(), server.Authorized())
	}
}

// An unknown name gets a salt that stays the same however it is spelled, differs from that of other names and of other
// stores, and looks like that of an account; its proof fails at the end.
func TestSCRAMUnknown(t *testing.T) {
	find := func(name string) (string, string) { return strings.ToLower(name), "" }
	salt := func(name, fake string) string {
		server, err := NewSCRAM(find, []byte(fake), nil, false)
		if err != nil {
			t.Fatal(err)
		}
		first, err := server.First([]byte("n,,n=" + name + ",r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		_, factors, _ := strings.Cut(string(first), ",")
		return factors
	}
	c, err := scram.SHA256.NewClient("a@x", "x", "")
	if err != nil {
		t.Fatal(err)
	}
	server, err := NewSCRAM(find, []byte("1"), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if first, err := talk(t, c.NewConversation(), server); err == nil || first == "" {
		t.Errorf("nobody logged in, or was refused at once: %v", err)
	}
	a := salt("a@x", "1")
	if a != salt("A@X", "1") || a == salt("b@x", "1") || a == salt("a@x", "2") || !strings.HasSuffix(a, ",i=600000") {
		t.Errorf("salt %s", a)
	}
	keys, err := SCRAMKeys("x y")
	if err != nil || len(strings.Split(strings.Split(keys, ":")[1], "$")[0]) != len(strings.Split(a[2:], ",")[0]) {
		t.Errorf("an account's keys are %s (%v), a fake salt %s", keys, err, a)
	}
	if err := CheckSCRAM(keys); err != nil {
		t.Error(err)
	}
}

func TestSCRAMForms(t *testing.T) {
	keys := cheapKeys(t, "x")
	for _, bad := range []string{
		"", "SCRAM-SHA-256$", strings.Replace(keys, "4096", "4095", 1), strings.Replace(keys, "4096", "x", 1),
		strings.Replace(keys, "4096", "+4096", 1), strings.Replace(keys, "256", "1", 1), keys + "A", keys[:len(keys)-4], strings.Replace(keys, "c2Fsd", "\nc2Fsd", 1),
		strings.Replace(keys, "c2FsdHNhbHRzYWx0c2FsdA==", "", 1),
	} {
		if CheckSCRAM(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, password := range []string{"", "a\nb", "a\u0007b", strings.Repeat("x", MaxPassword+1)} {
		if _, err := SCRAMKeys(password); err == nil {
			t.Errorf("keys of %.10q", password)
		}
	}
}

// FuzzSCRAM: whatever a client sends, it does not get in without the password, and the server does not fall over.
func FuzzSCRAM(f *testing.F) {
	f.Add([]byte("n,,n=me,r=abc"), []byte("c=biws,r=abc,p=AAAA"))
	f.Add([]byte("p=tls-exporter,a=x,n=me,r=abc"), []byte("c=,r=,p="))
	f.Fuzz(func(t *testing.T, first, final []byte) {
		s, err := NewSCRAM(func(name string) (string, string) { return name, "" }, nil, []byte("x"), false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.First(first); err != nil {
			return
		}
		if _, err := s.Final(final); err == nil {
			t.Error("logged in")
		}
	})
}
