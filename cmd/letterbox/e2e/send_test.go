package e2e

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// sendClient is a program that sends mail.
type sendClient struct {
	name  string
	modes []string
	need  func(t *testing.T)
	send  func(c *client, raw []byte, rcpts ...string)
	// unix: the program reads a file with the line ends of Unix, and ends the last line itself.
	unix bool
	// spoils names the mails that the program itself changes or refuses.
	spoils []string
	// body: the program writes a header of its own.
	body bool
}

func sendClients() []sendClient {
	needs := func(names ...string) func(*testing.T) { return func(t *testing.T) { t.Helper(); need(t, names...) } }
	perl := func(t *testing.T) { t.Helper(); needPerl(t, "Net::SMTP", "IO::Socket::SSL") }
	return []sendClient{
		{name: "swaks", modes: []string{plain, starttls, implicit, lmtp}, need: needs("swaks"), send: swaks},
		{name: "curl", modes: []string{plain, starttls, implicit}, need: needs("curl"), send: curlSend},
		{name: "msmtp", modes: []string{plain, starttls, implicit, lmtp}, need: needs("msmtp"), send: msmtp, unix: true, spoils: []string{"NUL"}},
		{name: "smtplib", modes: []string{plain, starttls, implicit, lmtp}, need: needs("python3"), send: smtplib},
		{name: "Net::SMTP", modes: []string{plain, starttls, implicit}, need: perl, send: netSMTP, unix: true},
		{name: "mutt", modes: []string{plain, starttls, implicit}, need: needs("mutt"), send: muttSend, unix: true, spoils: []string{"NUL", "998"}, body: true},
	}
}

// TestSend sends hard content by every client and every transport, and compares what POP3 gives out octet by octet.
func TestSend(t *testing.T) {
	t.Parallel()
	for _, sc := range sendClients() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			sc.need(t)
			s := serve(t)
			for _, mode := range sc.modes {
				t.Run(mode, func(t *testing.T) { sc.all(t, s, mode) })
			}
		})
	}
}

// all sends every message that the client can send by one transport, and wants exactly these in the maildrop. The short
// form sends some of them by one transport only.
func (sc sendClient) all(t *testing.T, s *server, mode string) {
	var sent []mail
	for _, m := range mails() {
		if slices.Contains(sc.spoils, m.name) || sc.body && !bytes.HasPrefix(m.raw, []byte(header+"\r\n")) {
			continue
		}
		if mode != plain && !m.everywhere && !long() {
			continue
		}
		raw := m.raw
		if sc.unix {
			raw = lf(crlf(raw))
		}
		sc.send(newClient(t, s, mode, smtpListener[mode]), raw, alice)
		sent = append(sent, m)
	}
	got := drain(t, s, alice)
	if len(got) != len(sent) {
		t.Fatalf("%d messages, want %d", len(got), len(sent))
	}
	for i, m := range sent {
		t.Run(m.name, func(t *testing.T) { sc.compare(t, got[i].raw, m.raw) })
	}
}

// compare compares what came out with what was sent.
func (sc sendClient) compare(t *testing.T, got, sent []byte) {
	t.Helper()
	got, want := withoutTrace(t, got, sender, alice), stored(sent)
	if sc.body {
		_, got, _ = bytes.Cut(got, []byte("\r\n\r\n"))
		want = bytes.TrimPrefix(want, []byte(header+"\r\n"))
	}
	same(t, got, want)
}

func swaks(c *client, raw []byte, rcpts ...string) {
	c.Helper()
	// Without -ndf swaks puts on the wire what it thinks best.
	data := c.file("data", string(dotStuffed(raw)))
	args := []string{"--silent", "3", "--server", c.host, "--port", c.port, "--from", sender, "--to", strings.Join(rcpts, ","), "-ndf", "--data", "@" + data}
	switch c.mode {
	case starttls:
		args = append(args, "--tls", "--tls-verify", "--tls-ca-path", c.server.cert)
	case implicit:
		args = append(args, "--tlsc", "--tls-verify", "--tls-ca-path", c.server.cert)
	case lmtp:
		args = append(args, "--protocol", "LMTP")
	}
	c.run(nil, "swaks", args...)
}

func curlSend(c *client, raw []byte, rcpts ...string) {
	c.Helper()
	args := []string{
		"--disable", "--silent", "--show-error", "--cacert", c.server.cert, "--upload-file", c.file("data", string(raw)), "--mail-from", sender,
		c.pick("smtp", "smtps", implicit) + "://" + c.host + ":" + c.port + "/client.example",
	}
	for _, to := range rcpts {
		args = append(args, "--mail-rcpt", to)
	}
	if c.mode == starttls {
		args = append(args, "--ssl-reqd")
	}
	c.run(nil, "curl", args...)
}

func msmtp(c *client, raw []byte, rcpts ...string) {
	c.Helper()
	rc := c.file("msmtprc", strings.Join([]string{
		"account default", "host " + c.host, "port " + c.port, "from " + sender, "domain client.example", "auth off",
		"protocol " + c.pick("smtp", "lmtp", lmtp), "tls " + c.pick("off", "on", starttls, implicit), "tls_starttls " + c.pick("on", "off", implicit),
		"tls_trust_file " + c.server.cert, "set_from_header off", "set_date_header off", "set_msgid_header off", "remove_bcc_headers off", "",
	}, "\n"))
	c.run(raw, "msmtp", append([]string{"--file=" + rc, "--"}, rcpts...)...)
}

func smtplib(c *client, raw []byte, rcpts ...string) {
	c.Helper()
	args := []string{c.testdata("send.py"), c.mode, c.host, c.port, c.server.cert, sender}
	c.run(raw, "python3", append(args, rcpts...)...)
}

func netSMTP(c *client, raw []byte, rcpts ...string) {
	c.Helper()
	args := []string{c.testdata("send.pl"), c.mode, c.host, c.port, c.server.cert, sender}
	c.run(raw, "perl", append(args, rcpts...)...)
}

func muttSend(c *client, raw []byte, rcpts ...string) {
	c.Helper()
	_, body, _ := bytes.Cut(raw, []byte("\n\n"))
	server := url.URL{Scheme: c.pick("smtp", "smtps", implicit), Host: c.host + ":" + c.port}
	rc := c.file("muttrc", strings.Join([]string{
		"set smtp_url=" + server.String(), "set ssl_starttls=" + c.pick("no", "yes", starttls), "set ssl_force_tls=" + c.pick("no", "yes", starttls, implicit),
		"set certificate_file=" + c.server.cert, "set ssl_ca_certificates_file=" + c.server.cert, "set ssl_verify_host=yes",
		"set from=" + sender, "set envelope_from_address=" + sender, "set use_envelope_from=yes", "set hostname=client.example", "set copy=no",
		"set charset=utf-8", "set send_charset=utf-8", "set allow_8bit=yes", "set text_flowed=no", "set encode_from=no", "set signature=''", "",
	}, "\n"))
	c.run(body, "mutt", append([]string{"-n", "-F", rc, "-s", "a test", "--"}, rcpts...)...)
}
