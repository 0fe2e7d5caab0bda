package smtpd

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// The bounds of a header where a Policy does not say otherwise.
const (
	defaultOctets = 256 << 10
	defaultFields = 1000
	defaultHops   = 100
)

// readHeader sends a message through a body in pieces, with a header bounded as p says.
func readHeader(t *testing.T, p Policy, s string, piece int) (string, *header) {
	t.Helper()
	var got bytes.Buffer
	b := newBody(&got, "mx.a.test", newRules(p).header())
	for len(s) > 0 {
		n := min(len(s), piece)
		if m, err := b.Write([]byte(s[:n])); m != n || err != nil {
			t.Fatal(m, err)
		}
		s = s[n:]
	}
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
	return got.String(), &b.header
}

// stretched makes long fields of short inputs: fuzzing alone would hardly come by one.
func stretched(s string) string {
	return strings.NewReplacer("\x01", strings.Repeat(" ", 1000), "\x02", strings.Repeat("x", 1000), "\x03", strings.Repeat("(y)\r\n ", 150)).Replace(s)
}

// FuzzHeader holds the streaming header against a model that has the whole message at hand, however the pieces are cut.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"Subject: x\r\n\r\nbody\r\n", "Return-Path: <x>\r\n\r\n", "return-path : a\r\n b\r\nx\r\n", "Return-Path\r\nReturn-Path: y\r\n",
		"Authentication-Results: mx.a.test; x\r\nA: b\r\n", "Authentication-Results:\r\n (c(d\\)))\r\n \"MX.a\\.test\"1\r\n",
		"Authentication-Results: \r\nReceived: x\r\n", "Authentication-Results: mx.a.test.;\r\n", "Authentication-Results: ;mx.a.test\r\n",
		"Delivered-To: ann@a.test\r\n\t\r\nDelivered-To:\r\n ann@a.test\r\n\r\nDelivered-To: x\r\n", " y\r\nReturn-Path: <x>\r\n",
		"Return-Path: x\r\n\r\nReturn-Path: y\r\n", "Return-Path: x\r\nno field\r\nReturn-Path: y\r\n", "", "\r\n", "a\nb:c\rd",
		"Message-ID: <one@b.test>\r\nMESSAGE-id :two\r\n", "Message-ID:\r\n (c)\r\n\t< one@b.test >\r\nX: <y>\r\n", "Message-ID:\r\nMessage-ID: <\r\n\r\nMessage-ID: x\r\n",
		"Authentication-Results: b.test; \x02\x02\r\nA: b\r\n", "Authentication-Results: mx.a.test; \x02\x02\r\nA: b\r\n",
		"Authentication-Results:\x03 \"b.test\" 1;\x03\r\n", "Authentication-Results:\x01b.test;\r\n", "Authentication-Results: \x02x;\r\n",
		"Return-Path\x01\x01:\r\nA:\x02\x02\r\n", "Received\x01\x01:\r\n", "\x02\x02: y\r\n", "\x02\x02\r\nReturn-Path: y\r\n",
		"Delivered-To:\x01ann@a.test\r\n", "Delivered-To: ann@a.test\x01 x\r\n", "Delivered-To\x01\x01: ann@a.test\r\n", "Return-Path\x01\x01\r\n",
	} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(5))
	}
	f.Fuzz(func(t *testing.T, s string, piece uint8) {
		s = stretched(s)
		canon, _ := plain(s)
		if len(canon) > defaultOctets {
			t.Skip("the bounds have tests of their own")
		}
		want := modelHeader(canon)
		for _, size := range []int{int(piece) + 1, bufferBytes} {
			got, h := readHeader(t, Policy{}, s, size)
			if h.fault != want.fault {
				t.Fatalf("%q in pieces of %d: fault %d, want %d", s, size, h.fault, want.fault)
			}
			if want.fault == noKind && (got != want.text || !slices.Equal(h.places, want.places) || h.msgID != want.msgID) {
				t.Errorf("%q in pieces of %d:\ngot  %q %q %q\nwant %q %q %q", s, size, got, h.places, h.msgID, want.text, want.places, want.msgID)
			}
		}
	})
}

type modeled struct {
	text   string
	places []string
	msgID  string
	fault  kind
}

var (
	modelQuoted   = regexp.MustCompile(`^"((?s:[^"\\]|\\.)*)"`)
	modelBrackets = regexp.MustCompile(`^[^<]*<([^>]*)>`)
	modelEscape   = regexp.MustCompile(`(?s)\\(.)`)
)

// modelHeader is what becomes of a canonical message.
func modelHeader(s string) (m modeled) {
	fields := 0
	octets, hops := 0, 0
	for s != "" {
		if s[0] == '\r' {
			break
		}
		field := modelField(s)
		name, value := modelNamed(field)
		out := modelLeftOut(field, name, value)
		if m.text == "" && !out && !beginsWithField(s) {
			break
		}
		s = s[len(field):]
		fields++
		octets += len(field)
		if out {
			continue
		}
		switch name {
		case "received":
			hops++
		case "delivered-to":
			place := strings.TrimSpace(value[:min(len(value), maxFieldHead)])
			if value != "" && len(m.places) < maxPlaces && !slices.Contains(m.places, place) {
				m.places = append(m.places, place)
			}
		case "message-id":
			if m.msgID == "" {
				m.msgID = strings.TrimSpace(value[:min(len(value), maxFieldHead)])
				if inner := modelBrackets.FindStringSubmatch(m.msgID); inner != nil {
					m.msgID = strings.TrimSpace(inner[1])
				}
				m.msgID = m.msgID[:min(len(m.msgID), store.MaxMessageID)]
			}
		}
		m.text += field
	}
	if hops > defaultHops {
		m.fault = looping
	}
	if octets > defaultOctets || fields > defaultFields {
		m.fault = bigHeader
	}
	if m.text += s; m.text == "" {
		m.text = "\r\n"
	}
	return m
}

// modelLeftOut tells whether only we may say what a field says. Whose Authentication-Results they are stands in what may be held,
// or nobody could tell.
func modelLeftOut(field, name, value string) bool {
	if name != "authentication-results" {
		return name == "return-path"
	}
	beyond := max(0, len(field)-maxFieldHead-1)
	id, ok := modelAuthor(value[:max(0, len(value)-beyond)])
	return !ok || strings.EqualFold(strings.TrimSuffix(id, "."), "mx.a.test")
}

// modelNamed returns the name of a field, in lower case, and its value. A name is looked for in what may be held; where no colon
// is there but more than that is on the line, what is there is the name, and there is no value.
func modelNamed(field string) (name, value string) {
	line, _, _ := strings.Cut(field, "\r")
	held := field[:min(len(line), maxFieldHead+1)]
	at := strings.IndexByte(held, ':')
	switch {
	case at >= 0:
		held, value = held[:at], field[at+1:]
	case len(held) <= maxFieldHead:
		return "", ""
	}
	return strings.ToLower(strings.TrimRight(held, " \t")), value
}

// modelField returns the first field of s: a line, and those after it that begin with a blank.
func modelField(s string) string {
	end := 0
	for {
		end += strings.Index(s[end:], "\n") + 1
		if end == len(s) || (s[end] != ' ' && s[end] != '\t') {
			return s[:end]
		}
	}
}

// beginsWithField is RFC 5322 section 2.2, with the blanks that section 4.5.8 allows. What we leave out counts as one.
func beginsWithField(s string) bool {
	line, _, _ := strings.Cut(s, "\r")
	name, _, ok := strings.Cut(line, ":")
	name = strings.TrimRight(name, " \t")
	return ok && name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// modelAuthor returns the authserv-id of a field's value.
func modelAuthor(s string) (string, bool) {
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if s == "" || s[0] != '(' {
			break
		}
		depth, i := 0, 0
		for ; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '(':
				depth++
			case ')':
				depth--
			}
			if depth == 0 {
				break
			}
		}
		if i >= len(s) {
			return "", false
		}
		s = s[i+1:]
	}
	if s == "" {
		return "", false
	}
	if s[0] == '"' {
		m := modelQuoted.FindStringSubmatch(s)
		if m == nil {
			return "", false
		}
		return modelEscape.ReplaceAllString(m[1], "$1"), true
	}
	end := strings.IndexAny(s, " \t\r\n;(")
	return s[:max(end, 0)], end >= 0
}

// TestHeaderBounds is the last that is taken, and the first that is not, by default and where a Policy says otherwise.
func TestHeaderBounds(t *testing.T) {
	testHeaderBounds(t, Policy{}, defaultOctets, defaultFields, defaultHops)
	testHeaderBounds(t, Policy{MaxHeaderBytes: 5000, MaxHeaderFields: 300, MaxHops: 110}, 5000, 300, 110)
}

func testHeaderBounds(t *testing.T, p Policy, octets, most, hops int) {
	fields := func(n int, field string) string { return strings.Repeat(field, n) + "\r\nbody\r\n" }
	filled := func(n int) string {
		return "A: " + strings.Repeat("x\r\n ", (n-6)/4) + strings.Repeat("y", (n-6)%4+1) + "\r\n\r\nbody\r\n"
	}
	for name, tt := range map[string]struct {
		text string
		want kind
	}{
		"received":         {fields(hops, "RECEIVED : x\r\n"), noKind},
		"too much of them": {fields(hops+1, "Received: x\r\n"), looping},
		"in the body":      {"A: b\r\n\r\n" + fields(hops+1, "Received: x\r\n"), noKind},
		"fields":           {fields(most, "A: b\r\n c\r\n"), noKind},
		"too many fields":  {fields(most+1, "A: b\r\n"), bigHeader},
		"octets":           {filled(octets), noKind},
		"too many octets":  {filled(octets + 1), bigHeader},
		"a body":           {"A: b\r\n\r\n" + strings.Repeat("x", 2*octets), noKind},
	} {
		for _, piece := range []int{1, 7, 32 << 10} {
			t.Run(fmt.Sprint(name, octets, piece), func(t *testing.T) {
				if _, h := readHeader(t, p, tt.text, piece); h.fault != tt.want {
					t.Errorf("fault %d, want %d, after %d octets", h.fault, tt.want, h.octets)
				}
			})
		}
	}
}

// TestHiddenAuthor can't hide whose Authentication-Results they are behind more than what is looked at.
func TestHiddenAuthor(t *testing.T) {
	for _, field := range []string{
		"Authentication-Results: (" + strings.Repeat("x", maxFieldHead) + ") mx.a.test; spf=pass\r\n",
		"Authentication-Results:" + strings.Repeat(" ", maxFieldHead) + "mx.a.test; spf=pass\r\n",
		"Authentication-Results" + strings.Repeat(" ", 2*maxFieldHead) + ": mx.a.test; spf=pass\r\n",
		"Return-Path" + strings.Repeat("\t", 2*maxFieldHead) + ": mx.a.test\r\n",
	} {
		for _, piece := range []int{1, 100, 5000} {
			if got, _ := readHeader(t, Policy{}, field+"A: b\r\n\r\n", piece); got != "A: b\r\n\r\n" {
				t.Errorf("%.60q became %.60q", field, got)
			}
		}
	}
}

// TestLongForeignAuthor: Authentication-Results in another's name stay, octet for octet, however long the first line is and
// however the pieces are cut.
func TestLongForeignAuthor(t *testing.T) {
	text := "Authentication-Results: other.example; " + strings.Repeat("dkim=pass header.d=a.test; ", 50) + "spf=pass\r\nA: b\r\n\r\n"
	for _, piece := range []int{1, 100, bufferBytes} {
		if got, _ := readHeader(t, Policy{}, text, piece); got != text {
			t.Errorf("in pieces of %d, %d octets became %d: %.60q", piece, len(text), len(got), got)
		}
	}
}

// TestHeaderIsLinear takes the largest header that there can be in little time, in the pieces and forms that cost most.
func TestHeaderIsLinear(t *testing.T) {
	for name, text := range map[string]string{
		"comments": strings.Repeat("Authentication-Results: ("+strings.Repeat("(\r\n ", 60)+"\r\n", defaultFields),
		"places":   strings.Repeat("Delivered-To: "+strings.Repeat("x\r\n ", 60)+"\r\n", defaultFields),
		"one line": "Delivered-To: " + strings.Repeat("a@", defaultOctets/2-20),
		"no name":  strings.Repeat("x", defaultOctets-2),
	} {
		took := time.Duration(math.MaxInt64)
		for try := 0; try < 5 && took > 2*time.Second; try++ { // it takes some 10 ms, but where the machine stands still
			before := time.Now()
			readHeader(t, Policy{}, text, 1)
			took = time.Since(before)
		}
		if took > 2*time.Second {
			t.Errorf("%s: %d octets took %v", name, len(text), took)
		}
	}
}

// TestHeaderReplies are the words for each, over DATA, BDAT and LMTP; and the connection goes on.
func TestHeaderReplies(t *testing.T) {
	for _, lmtp := range []bool{false, true} {
		for text, want := range map[string]string{
			strings.Repeat("Received: x\r\n", defaultHops+1): "554 5.4.6 ",
			strings.Repeat("A: x\r\n", defaultFields+1):      "552 5.3.4 ",
		} {
			b := newBench(t, Policy{}, Listener{Name: "test", LMTP: lmtp})
			c := b.dial()
			c.want("220 ")
			c.do(map[bool]string{false: "EHLO x", true: "LHLO x"}[lmtp], "250 ")
			c.envelope()
			c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), text))
			c.want(want)
			c.envelope()
			c.do("DATA", "354 ")
			c.send(text + ".\r\n")
			c.want(want)
			c.do("QUIT", "221 ")
			b.ended(endQuit)
			if !b.watch.hasPrefix("message rejected header ") || len(b.store.all()) != 0 {
				t.Error(b.watch.seen)
			}
		}
	}
}
