package smtpd

import (
	"crypto/tls"
	"net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestReceived(t *testing.T) {
	at := time.Date(2026, 11, 22, 21, 50, 24, 0, time.FixedZone("", 3600))
	base := trace{helo: "client.test", greeting: "EHLO", peer: netip.MustParseAddr("192.0.2.1"), host: "mx.a.test", at: at}
	const tail = ";\r\n\tSun, 22 Nov 2026 20:50:24 +0000\r\n"
	const id = "\r\n\tid 00000000000000000000000000"
	for name, tt := range map[string]struct {
		change func(*trace)
		want   string
	}{
		"plain": {func(*trace) {}, "Received: from client.test ([192.0.2.1])\r\n\tby mx.a.test with ESMTP" + id + tail},
		"helo": {func(t *trace) { t.greeting = "HELO" },
			"Received: from client.test ([192.0.2.1])\r\n\tby mx.a.test with SMTP" + id + tail},
		"tls": {func(t *trace) {
			t.tls = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
		}, "Received: from client.test ([192.0.2.1])\r\n\tby mx.a.test with ESMTPS\r\n\t(TLS1.3 TLS_AES_128_GCM_SHA256)" + id + tail},
		"lmtp over a socket": {func(t *trace) { t.greeting, t.peer = "LHLO", netip.Addr{} },
			"Received: from client.test\r\n\tby mx.a.test with LMTP" + id + tail},
		"ipv6": {func(t *trace) { t.peer, t.helo = netip.MustParseAddr("2001:db8::1%eth0"), "[IPv6:2001:db8::1]" },
			"Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n\tby mx.a.test with ESMTP" + id + tail},
		"hostile": {func(t *trace) { t.helo, t.to = "x)\r\n by (y;z", "a\"b\r\nc@d>;e" },
			"Received: from x????by??y?z ([192.0.2.1])\r\n\tby mx.a.test with ESMTP" + id +
				"\r\n\tfor <\"a\\\"b??c\"@d??e>" + tail},
	} {
		t.Run(name, func(t *testing.T) {
			tr := base
			tt.change(&tr)
			if got := string(tr.field()); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestPrintablePath(t *testing.T) {
	for path, want := range map[string]string{
		"":                 "",
		"ann@a.test":       "ann@a.test",
		"a+b/c@a.test":     "a+b/c@a.test",
		"quo ted@a.test":   `"quo ted"@a.test`,
		"a@b@a.test":       `"a@b"@a.test`,
		`b\s"q@a.test`:     `"b\\s\"q"@a.test`,
		".dot@a.test":      `".dot"@a.test`,
		"josé@a.test":      "josé@a.test",
		"x\r\ny@a.test":    `"x??y"@a.test`,
		"ann@a.test>\r\nX": "ann@a.test???X",
		"\xff@a.test":      "?@a.test",
	} {
		if got := printablePath(path); got != want {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
	}
}

// TestPlainPath: what counts as plain is printed as it is also by the long way, and no other path is plain.
func TestPlainPath(t *testing.T) {
	for path, want := range map[string]bool{
		"ann@a.test": true, "a.b+c=d_e-f@mx-1.a.test": true, "1@2": true,
		"": false, "ann": false, "@": false, "@a.test": false, "ann@": false, ".a@b": false, "a.@b": false, "a..b@c": false, "a@.b": false,
		"a@b.": false, "a@b..c": false, "a@b@c": false, "a b@c": false, "a@b>": false, "é@b": false, "a@b\n": false, `"a"@b`: false,
	} {
		if got := isPlainPath(path); got != want {
			t.Errorf("%q: %v", path, got)
		}
		if local, _, _ := strings.Cut(path, "@"); want && (!isDotString(local) || printable(path) != path) {
			t.Errorf("%q needs more than to be copied", path)
		}
	}
}

// FuzzTrace looks for a way out of the fields that we write.
func FuzzTrace(f *testing.F) {
	f.Add("client.test", "eve@b.test", "ann@a.test")
	f.Add("[::1]", "", "\"@\r\n x")
	f.Add(")\r\n\r\n(", "a b@c", "x@y>, <z")
	f.Fuzz(func(t *testing.T, helo, from, to string) {
		tr := trace{helo: helo, greeting: "EHLO", peer: netip.MustParseAddr("192.0.2.1"), host: "mx.a.test", to: to}
		text := string(ownLines(from, to)) + string(tr.field())
		m, err := mail.ReadMessage(strings.NewReader(text + "\r\nbody"))
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		if len(m.Header) != 3 || strings.Count(text, "\n") != strings.Count(text, "\r\n") || strings.Contains(text, "\r\n\r\n") {
			t.Errorf("more than our fields: %q", text)
		}
	})
}
