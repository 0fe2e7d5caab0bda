package smtpd

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		"", "a", "a\r\n", "a\n", "\r", "\r\r\n", "\n\r", "a\r\nb\rc\nd", "\x00\r\x00\n", "\r\n.\r\n", "\r\n\r\n",
	} {
		f.Add(s, uint8(1))
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, s string, piece uint8) {
		var got bytes.Buffer
		c := &canonical{w: &got}
		for rest := []byte(s); len(rest) > 0; {
			n := min(len(rest), int(piece)+1)
			if m, err := c.Write(rest[:n]); m != n || err != nil {
				t.Fatal(m, err)
			}
			rest = rest[n:]
		}
		if err := c.finish(); err != nil {
			t.Fatal(err)
		}
		want, bare := plain(s)
		if got.String() != want || c.bare != bare {
			t.Errorf("%q in pieces of %d became %q, %v; want %q, %v", s, piece+1, got.String(), c.bare, want, bare)
		}
	})
}

// plain is the model of canonical: one octet at a time, with the whole text at hand.
func plain(s string) (string, bool) {
	var out []byte
	bare := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n':
			i++
			out = append(out, "\r\n"...)
		case s[i] == '\r' || s[i] == '\n':
			bare = true
			out = append(out, "\r\n"...)
		default:
			out = append(out, s[i])
		}
	}
	if !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return string(out), bare
}

// TestFirstLine sends messages whose beginning would continue, or join, the fields that we put above them.
func TestFirstLine(t *testing.T) {
	for body, empty := range map[string]bool{
		"Subject: x\r\n\r\nbody": false,
		"Subject : x\r\n":        false,
		"X:\r\n":                 false,
		"\r\nbody":               false,
		"\n forged":              false,
		"":                       false,
		" forged: yes\r\n":       true,
		"\tforged\r\n":           true,
		"hello\r\n":              true,
		"From eve Sun\r\n":       true,
		": x\r\n":                true,
		"Sub\xc3\xa9ct: x\r\n":   true,
		"Sub\x00ject: x\r\n":     true,
		"nothing":                true,
		"a b: c\r\n":             true,
	} {
		for piece := 1; piece < 4; piece++ {
			var f firstLine
			for rest := []byte(body); len(rest) > 0; {
				n := min(piece, len(rest))
				f.scan(rest[:n])
				rest = rest[n:]
			}
			if got := f.needsEmptyLine(); got != empty {
				t.Errorf("%q: an empty line: %v, want %v", body, got, empty)
			}
		}
	}
}

// TestForgedFirstLine is the same from end to end.
func TestForgedFirstLine(t *testing.T) {
	for _, body := range []string{" by forged.test\r\n", "no field\r\n", "Subject: x\r\n", "\r\nx\r\n", ".\r\n"} {
		b := newBench(t, Policy{}, Listener{Name: "test"})
		c := b.hello()
		c.envelope()
		c.send("BDAT " + strconv.Itoa(len(body)) + " LAST\r\n" + body)
		c.want("250 ")
		m := b.store.all()[0].whole(0)
		head, _, ok := strings.Cut(m, "\r\n\r\n")
		if !ok && body != "Subject: x\r\n" {
			t.Errorf("no header in %q", m)
		}
		if strings.Contains(head, "forged") || strings.Contains(head, "no field") {
			t.Errorf("forged: %q", m)
		}
	}
}
