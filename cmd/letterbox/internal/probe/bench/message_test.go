package bench

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// TestMessages makes messages of many sizes: each is known again, whole or changed, however it is cut.
func TestMessages(t *testing.T) {
	c := newCorpus("run", "from@bench.invalid", time.Now())
	random := rand.New(rand.NewPCG(1, 2))
	for n, size := range []int{0, 500, 4 << 10, 75 << 10, 1 << 20, 4 << 20, 9 << 20} {
		m := c.message(n, size, "to@bench.test")
		var raw bytes.Buffer
		if _, err := m.WriteTo(&raw); err != nil {
			t.Fatal(err)
		}
		if int64(raw.Len()) != m.octets {
			t.Errorf("%d octets are said to be %d", raw.Len(), m.octets)
		}
		if want := max(size, 500); raw.Len() > want+lineOctets || raw.Len() < want-300 {
			t.Errorf("a message of %d octets has %d", size, raw.Len())
		}
		for _, trace := range []string{"", "Return-Path: <x@y.example>\r\nReceived: from here\r\n\tby there\r\n"} {
			whole := append([]byte(trace), raw.Bytes()...)
			if k := checked(random, whole); !k.known() || !k.intact() {
				t.Errorf("a message of %d octets is not known again: %+v", size, k.want)
			}
			for _, spoilt := range [][]byte{
				whole[:len(whole)-2], append(bytes.Clone(whole), "\r\n"...), bytes.Replace(whole, []byte("\r\n\r\n"), []byte("\r\n\r\nx"), 1),
			} {
				if k := checked(random, spoilt); k.intact() {
					t.Errorf("a message of %d octets that was changed counts as intact", size)
				}
			}
		}
	}
	if checked(random, []byte("Subject: another\r\n\r\n"+sumField+": a 1 2\r\n")).known() {
		t.Error("a stranger's message is known")
	}
}

// checked writes raw to a checker in pieces.
func checked(random *rand.Rand, raw []byte) *checker {
	k := newChecker()
	for rest := raw; len(rest) > 0; {
		n := 1 + random.IntN(min(len(rest), 1+random.IntN(100_000)))
		k.Write(rest[:n])
		rest = rest[n:]
	}
	return k
}

// TestMixedSizes holds the mix to what the help says of it.
func TestMixedSizes(t *testing.T) {
	small, medium, large := 0, 0, 0
	for n := range 10_000 {
		switch size := mixedSize(n); {
		case size < 1<<10 || size > 4<<20:
			t.Fatalf("a message of %d octets", size)
		case size <= 8<<10:
			small++
		case size <= 75<<10:
			medium++
		case size > 2<<20:
			large++
		}
	}
	if small < 4800 || small > 5200 || medium < 3800 || medium > 4200 || large < 70 || large > 130 {
		t.Errorf("%d small, %d medium, %d large", small, medium, large)
	}
}

// TestUsers reads formats of names.
func TestUsers(t *testing.T) {
	for format, want := range map[string]string{"u%04d@b.test": "u0005@b.test", "%d": "5", "u%1d": "u5"} {
		if format == "u%1d" {
			if _, err := NewUsers(format, 0, 1); err == nil {
				t.Errorf("%q was taken", format)
			}
			continue
		}
		u, err := NewUsers(format, 3, 10)
		if err != nil || u.Name(2) != want || u.Name(12) != want {
			t.Errorf("%q: %q, %v", format, u.Name(2), err)
		}
	}
	for _, format := range []string{"", "%s", "%d%d", "100%", "%999999d", "%[2]d"} {
		if _, err := NewUsers(format, 0, 1); err == nil {
			t.Errorf("%q was taken", format)
		}
	}
	if _, err := NewUsers("me@b.test", 0, 2); err == nil {
		t.Error("two users of one name were taken")
	}
	if u, err := NewUsers("me@b.test", 0, 1); err != nil || u.Name(7) != "me@b.test" {
		t.Error("one user of a fixed name was refused")
	}
}
