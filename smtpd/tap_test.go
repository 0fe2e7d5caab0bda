package smtpd

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestWidth compares with a count of each octet, wherever pieces are cut.
func TestWidth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var content []byte
		for range 1 + random.IntN(4) {
			length := maxLine - 3 + random.IntN(5)
			if random.IntN(2) == 0 {
				length = 1 + random.IntN(200)
			}
			content = append(append(content, bytes.Repeat([]byte("x"), length-1)...), '\n')
		}
		wanted, at := false, 0
		for _, b := range content {
			if at++; at > maxLine {
				wanted = true
			}
			if b == '\n' {
				at = 0
			}
		}
		var w width
		got := false
		for rest := content; len(rest) > 0 && !got; {
			n := min(len(rest), 1+random.IntN(2*maxLine))
			got = w.over(rest[:n])
			rest = rest[n:]
		}
		if got != wanted {
			t.Fatalf("a line is too long: %v, want %v", got, wanted)
		}
	}
}

// TestTapLine: a command line is the same to the tap wherever it is cut into pieces, and ends the session once it is too long.
func TestTapLine(t *testing.T) {
	long := func(octets int) string { return "NOOP " + strings.Repeat("x", octets-len("NOOP ")) }
	for _, tt := range []struct {
		input string
		used  int
		event event
		verb  string
	}{
		{"MAIL FROM:<a@b.test>\r\nRCPT", len("MAIL FROM:<a@b.test>\r\n"), noEvent, "MAIL"},
		{"rset\n", 5, noEvent, "RSET"},
		{"starttls\r\r\n", 11, noEvent, "STARTTLS"},
		{"\u017ftarttls\n", 10, noEvent, "STARTTLS"}, // as go-smtp's ToUpper has it
		{"\n", 1, noEvent, otherVerb},
		{"\r\n", 2, noEvent, otherVerb},
		{"XMAIL\r\n", 7, noEvent, otherVerb},
		{"GET / HTTP/1.1\r\n", 16, foreign, otherVerb},
		{"\x16\x03\x01\n", 1, foreign, ""},
		{long(maxCommandLine) + "\n", maxCommandLine + 1, noEvent, "NOOP"},
		{long(maxCommandLine+1) + "\n", maxCommandLine + 1, badLine, ""},
		{"BDAT " + strings.Repeat("1", lineHead) + "\r\n", lineHead + 7, badLine, "BDAT"},
	} {
		for _, piece := range []int{1, 7, len(tt.input)} {
			tap := tap{wantLine: true}
			used, got := 0, noEvent
			for rest := tt.input; len(rest) > 0 && tap.wantLine && got == noEvent; {
				var n int
				n, got = tap.line([]byte(rest[:min(piece, len(rest))]))
				used += n
				rest = rest[n:]
			}
			if used != tt.used || got != tt.event || tap.verb != tt.verb {
				t.Errorf("%.20q in pieces of %d: %d octets, event %d, %s", tt.input, piece, used, got, tap.verb)
			}
		}
	}
}
