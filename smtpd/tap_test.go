package smtpd

import (
	"bytes"
	"math/rand/v2"
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
