package app

import (
	"net"
	"slices"
	"strings"
	"testing"

	"example.org/letterbox/cmd/letterbox/internal/listen"
	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// TestCanaryTarget shows how an address is reached: over loopback, in the way that its words say.
func TestCanaryTarget(t *testing.T) {
	for _, test := range []struct {
		address  string
		hosts    []string
		security probe.Security
		proxy    bool
	}{
		{"localhost:25", []string{"127.0.0.1", "::1"}, probe.StartTLS, false},
		{":25", []string{"127.0.0.1", "::1"}, probe.StartTLS, false},
		{"[::]:25 proxy", []string{"127.0.0.1", "::1"}, probe.StartTLS, true},
		{"0.0.0.0:995 tls", []string{"127.0.0.1"}, probe.Implicit, false},
		{"192.0.2.1:995 tls-in-front proxy", []string{"192.0.2.1"}, probe.Clear, true},
		{"127.0.0.1:0", nil, 0, false},
		{"unix:/run/smtp", nil, 0, false},
		{"fd:smtp", nil, 0, false},
	} {
		a, err := listen.Parse(test.address)
		if err != nil {
			t.Fatal(err)
		}
		got := targetOf(a.Text, a)
		if !slices.Equal(got.hosts, test.hosts) || got.security != test.security || got.proxy != test.proxy {
			t.Errorf("%s is reached as %+v", test.address, got)
		}
	}
}

// TestCanaryWay shows which of several listeners the canary takes: one that shows the most of what clients need, the first of
// its kind, and with the port that the system chose.
func TestCanaryWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	chosen := l.Addr().String()
	for _, test := range []struct {
		way       way
		listeners string
		want      string
	}{
		{smtpWay(), "smtps 127.0.0.1:465 tls,smtp 127.0.0.1:25,smtp 127.0.0.1:26", "127.0.0.1:25"},
		{smtpWay(), "smtp 127.0.0.1:25 tls-in-front,smtps 127.0.0.1:465 tls", "127.0.0.1:465 tls"},
		{smtpWay(), "lmtp 127.0.0.1:24,pop3 127.0.0.1:110", ""},
		{smtpWay(), "smtp fd:smtp,smtp unix:/a,smtp 127.0.0.1:0", ""},
		{smtpWay(), "smtp fd:open", chosen},
		{pop3Way(), "pop3 127.0.0.1:110,pop3s 127.0.0.1:995 tls proxy", "127.0.0.1:995 tls proxy"},
		{pop3Way(), "pop3 127.0.0.1:110 tls-in-front,pop3 127.0.0.1:111", "127.0.0.1:111"},
	} {
		var all []listener
		for text := range strings.SplitSeq(test.listeners, ",") {
			name, address, _ := strings.Cut(text, " ")
			a, err := listen.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			open := listener{name: name, address: a}
			if a.Text == "open" {
				open.Listener = l
			}
			all = append(all, open)
		}
		got := test.way.best(all)
		if text := got.String(); got == (listen.Address{}) && test.want != "" || got != (listen.Address{}) && text != test.want {
			t.Errorf("of %s it takes %q, want %q", test.listeners, text, test.want)
		}
	}
}
