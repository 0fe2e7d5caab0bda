package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// mail is one message to send, with its line ends as they go out.
type mail struct {
	name string
	raw  []byte
	// everywhere: also the short form sends it by every transport.
	everywhere bool
}

const header = "From: Sender <sender@elsewhere.example>\r\nTo: alice@mail.example\r\nSubject: a test\r\n" +
	"Date: Sat, 22 Nov 2025 10:00:00 +0000\r\nMessage-ID: <one@elsewhere.example>\r\n"

// mails are messages with content that clients, transports and stores are known to damage.
func mails() []mail {
	long := strings.Repeat("x", 998)
	return []mail{
		{"plain", []byte(header + "\r\nHello.\r\n"), true},
		{"empty body", []byte(header + "\r\n"), false},
		{"dots", []byte(header + "\r\n.\r\n..\r\n...\r\n.x\r\n. \r\n\r\n.\r\nend.\r\n.\r\n"), true},
		{"998 in the header", []byte(header + "X-Long: " + long[:990] + "\r\n\r\nbody\r\n"), false},
		{"998", []byte(header + "\r\n" + long + "\r\n." + long[1:] + "\r\n" + long + "\r\n"), false},
		{"8-bit", append([]byte(header+"X-Name: J\xc3\xb6rg\r\n\r\n"), eightBit()...), false},
		{"mbox lines", []byte(header + "\r\nFrom here\r\n>From there\r\n\r\nFrom nobody Sat Nov 22 10:00:00 2025\r\n"), false},
		{"blanks", []byte(header + "\r\n  \r\n\ttab\t\r\ntrailing  \r\n\r\n\r\n\r\n"), false},
		{"large", append([]byte(header+"\r\n"), text(3<<20, 7)...), true},
		{"no final line end", []byte(header + "\r\nthe last line"), false},
		{"NUL", []byte(header + "\r\na\x00b\r\n\x00\r\n\x00\x00.\r\n"), false},
		{"bare line ends", []byte("Subject: bare\n\r\none\ntwo\rthree\r\n\nfour\r\r\nfive\r\n"), false},
		{"no field", []byte("this line is no field\r\nX-Forged: yes\r\n\r\nbody\r\n"), false},
		{"blank first", []byte(" folded into nothing\r\n\r\nbody\r\n"), false},
	}
}

// eightBit is every octet over 127, and lines of UTF-8.
func eightBit() []byte {
	var b []byte
	for c := 0x80; c <= 0xff; c++ {
		b = append(b, byte(c))
		if c%16 == 15 {
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "Grüße, привет, 你好\r\n"...)
}

// text is n octets or a little more of lines of every length, always the same for one seed. Some lines begin with dots.
func text(n int, seed uint64) []byte {
	const letters = ".abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.0123456789+/"
	random := rand.New(rand.NewPCG(seed, 451))
	b := make([]byte, 0, n+1000)
	for len(b) < n {
		for range random.IntN(200) {
			b = append(b, letters[random.IntN(len(letters))])
		}
		b = append(b, "\r\n"...)
	}
	return b
}

// stored is what a message is in the store: CRLF at the end of every line, and an empty line on top of a first line that
// could join the trace fields.
func stored(raw []byte) []byte {
	b := crlf(raw)
	if !regexp.MustCompile(`^(?:[!-9;-~]+[ \t]*:|\r\n)`).Match(b) {
		b = append([]byte("\r\n"), b...)
	}
	return b
}

// crlf gives every line its CRLF, also the last one and those that end in a bare CR or LF.
func crlf(raw []byte) []byte {
	b := regexp.MustCompile(`\r\n|\r|\n`).ReplaceAll(raw, []byte("\r\n"))
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		b = append(b, "\r\n"...)
	}
	return b
}

// lf gives the lines of raw the ends of Unix.
func lf(raw []byte) []byte { return bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")) }

// dotStuffed is raw as it goes over the wire after DATA, end included (RFC 5321 section 4.5.2).
func dotStuffed(raw []byte) []byte {
	b := bytes.ReplaceAll(raw, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(b, []byte(".")) {
		b = append([]byte("."), b...)
	}
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		b = append(b, "\r\n"...)
	}
	return append(b, ".\r\n"...)
}

// withoutTrace takes the trace fields off the top of a fetched message: Return-Path and Delivered-To of this entry and one
// Received, and nothing else.
func withoutTrace(t *testing.T, fetched []byte, from, to string) []byte {
	t.Helper()
	rest := fetched
	for _, want := range []string{`Return-Path: <` + regexp.QuoteMeta(from) + `>`, `Delivered-To: ` + regexp.QuoteMeta(to), `Received: from [^\r\n]+`} {
		field := regexp.MustCompile(`^` + want + `\r?\n(?:[ \t][^\r\n]*\r?\n)*`).Find(rest)
		if field == nil {
			t.Fatalf("want a line %q at %.200q", want, rest)
		}
		rest = rest[len(field):]
	}
	return rest
}

// same compares two messages and shows where they part.
func same(t *testing.T, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	from := max(0, at-40)
	t.Errorf("%d octets, want %d; they part at octet %d:\n got %s\nwant %s", len(got), len(want), at, excerpt(got, from), excerpt(want, from))
}

func excerpt(b []byte, from int) string { return fmt.Sprintf("%.120q", b[min(from, len(b)):]) }
