package pop3d

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"example.org/letterbox/store"
)

// lender lends a message whose head has so many octets.
type lender struct {
	*bytes.Reader
	all  []byte
	head int
	lent *atomic.Int32
}

func (l lender) Close() error { return nil }

func (l lender) Lend() (head, body []byte, ok bool) {
	if l.head < 0 {
		return nil, nil, false
	}
	l.lent.Add(1)
	return l.all[:l.head], l.all[l.head:], true
}

// TestLend: a client gets the same octets of what the store lends as of what it has copied, whatever stands in there.
func TestLend(t *testing.T) {
	const head = "A: b\r\n\r\n"
	long := strings.Repeat(strings.Repeat("0.23456789", 7)+"\r\n", lendFrom/70)
	for name, c := range map[string]struct {
		body string
		head int
		lent int32
	}{
		"a usual one":               {head + long, len(head), 1},
		"a dot at its front":        {head + "." + long, len(head), 1},
		"a dot in its middle":       {head + long + ".\r\n..\r\n" + long, len(head), 1},
		"no line end at its end":    {head + long + "x", len(head), 1},
		"a head without a line end": {head + long, len(head) - 1, 1},
		"a head with dots":          {"A: b\r\n.c: d\r\n\r\n" + long, 15, 1},
		"no head":                   {long, 0, 1},
		"no body":                   {head + long, len(head + long), 1},
		"a large head":              {head + strings.Repeat(long, 5), len(head + long + long), 1},
		"a small one":               {head + "x\r\n", len(head), 0},
		"one that is not lent":      {head + long, -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(c.body, "A: b\r\n\r\nsecond\r\n")
			var lent atomic.Int32
			f.retrieve = func(i int, body []byte) (io.ReadCloser, error) {
				if i > 0 {
					return io.NopCloser(bytes.NewReader(body)), nil
				}
				return lender{bytes.NewReader(body), body, c.head, &lent}, nil
			}
			b := serve(t, f, unobserved)
			client := b.login()
			want := "+OK " + strconv.Itoa(len(c.body)) + " octets\r\n" + stuffed(c.body)
			for range 2 {
				client.send("RETR 1\r\n")
				got := make([]byte, len(want))
				if _, err := io.ReadFull(client.r, got); err != nil || string(got) != want {
					t.Fatalf("%v: %d octets of %d are right", err, same(string(got), want), len(want))
				}
			}
			if lent.Load() != 2*c.lent {
				t.Errorf("it was lent %d times, want %d", lent.Load(), 2*c.lent)
			}
			client.ask("NOOP", "+OK*")
			client.ask("QUIT", "+OK*")
			if n := len(b.server.buffers.taken); n != 0 {
				t.Errorf("%d wide buffers are still taken", n)
			}
		})
	}
}

// stuffed is what RFC 1939 section 3 makes of a message.
func stuffed(body string) string {
	var b strings.Builder
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, ".") {
			b.WriteByte('.')
		}
		b.WriteString(line)
	}
	if !strings.HasSuffix(body, "\n") {
		b.WriteString("\r\n")
	}
	return b.String() + ".\r\n"
}

// same is how many octets a and b have in common at their fronts.
func same(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// TestLendIsBounded: memory of the store's is lent while a wide buffer is to be had, to nobody who sends many commands at once, and
// not for an octet that is to be changed.
func TestLendIsBounded(t *testing.T) {
	body := "A: b\r\n\r\n" + strings.Repeat("x\x00\r\n", lendFrom)
	var lent atomic.Int32
	f := newFake(body)
	f.retrieve = func(_ int, body []byte) (io.ReadCloser, error) {
		return lender{bytes.NewReader(body), body, 8, &lent}, nil
	}
	retrieve := func(b *bench, commands string, want int32) {
		t.Helper()
		lent.Store(0)
		c := b.login()
		c.send(commands)
		for range strings.Count(commands, "RETR") {
			c.want("+OK*")
			c.body()
		}
		c.ask("QUIT", "+OK*")
		if lent.Load() != want {
			t.Errorf("lent %d times, want %d", lent.Load(), want)
		}
	}
	b := serve(t, f, unobserved)
	retrieve(b, "RETR 1\r\n", 1)
	retrieve(b, "RETR 1\r\nRETR 1\r\n", 1) // behind the last one nothing waits
	for range wideBuffers {
		b.server.buffers.taken <- struct{}{}
	}
	retrieve(b, "RETR 1\r\n", 0)
	retrieve(serve(t, f, unobserved, func(_ *Config, p *Policy, _ *Listener) { p.NoNULs = true }), "RETR 1\r\n", 0)
}

var _ store.Lender = lender{}
