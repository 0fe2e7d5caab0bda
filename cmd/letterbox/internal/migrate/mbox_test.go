package migrate

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"
)

// read returns the messages of an mbox as they are after the spool, and their UIDLs.
func read(t *testing.T, text string) (bodies, uidls []string) {
	t.Helper()
	m, err := scanMbox(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	sp := newSpool()
	defer sp.close()
	for i := range m.Len() {
		sp.reset()
		msg := m.Message(i)
		if err := msg.Read(sp); err != nil {
			t.Fatal(err)
		}
		if err := sp.end(); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		b.ReadFrom(sp.reader())
		bodies, uidls = append(bodies, b.String()), append(uidls, msg.UIDL)
	}
	return bodies, uidls
}

func TestReadMbox(t *testing.T) {
	const from = "From a@b.example Thu Jan  1 00:00:00 1970\n"
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"one", from + "A: 1\n\nx\n\n", "A: 1\r\n\r\nx\r\n|"},
		{"no empty line at the end", from + "A: 1\n\nx\n", "A: 1\r\n\r\nx\r\n|"},
		{"no line end at the end", from + "A: 1\n\nx", "A: 1\r\n\r\nx\r\n|"},
		{"two", from + "A: 1\n\nx\n\n" + from + "B: 1\n\ny\n\n", "A: 1\r\n\r\nx\r\n|B: 1\r\n\r\ny\r\n|"},
		{"empty lines of the message stay", from + "A: 1\n\n\n\n" + from + "B: 1\n\n", "A: 1\r\n\r\n\r\n|B: 1\r\n|"},
		{"CRLF", strings.ReplaceAll(from+"A: 1\n\nx\n\n"+from+"B: 1\n\ny\n\n", "\n", "\r\n"), "A: 1\r\n\r\nx\r\n|B: 1\r\n\r\ny\r\n|"},
		{"quoted", from + "A: 1\n\n>From a\n>>From b\n>from c\n> From d\n>From\n\n", "A: 1\r\n\r\nFrom a\r\n>From b\r\n>from c\r\n> From d\r\n>From\r\n|"},
		{"From without a time", from + "A: 1\n\nx\n\nFrom here on\n", "A: 1\r\n\r\nx\r\n\r\nFrom here on\r\n|"},
		{"From without an empty line before", from + "A: 1\n\nx\n" + from, "A: 1\r\n\r\nx\r\n" + strings.TrimSuffix(from, "\n") + "\r\n|"},
		{"messages without an octet", from + "\n" + from, "||"},
		{"long line", from + "A: 1\n\n" + strings.Repeat("y", 200_000) + "\n\n" + from + "B: 1\n", "A: 1\r\n\r\n" + strings.Repeat("y", 200_000) + "\r\n|B: 1\r\n|"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bodies, _ := read(t, test.text)
			got := ""
			for _, b := range bodies {
				got += b + "|"
			}
			if got != test.want {
				t.Errorf("got %.300q, want %.300q", got, test.want)
			}
		})
	}
}

func TestMboxUIDL(t *testing.T) {
	const from = "From a@b.example Thu Jan  1 00:00:00 1970\n"
	_, got := read(t, from+"x-uidl:  abc \nX-UIDL: second\n\nX-UIDL: body\n\n"+from+"A: 1\nX-UIDL: with blank\n\nx\n\n"+from+"A: 1\n\nX-UIDL: body\n")
	if strings.Join(got, "|") != "abc||" {
		t.Errorf("UIDLs %q", got)
	}
	if _, err := scanMbox(strings.NewReader("\nSubject: x\n"), 12); err == nil {
		t.Error("a message was taken for an mbox")
	}
}

// FuzzMbox: what is no mbox is refused, and what is written comes back octet by octet, beside others.
func FuzzMbox(f *testing.F) {
	for _, seed := range []string{"", "From ", "A: 1\r\n\r\n>>From x 1:11\r\n", "\r\n\r\nFrom a 00:00\r\n", "From a 1:00\n\n\nFrom b 1:00\nx", "\r>From \n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := scanMbox(bytes.NewReader(b), int64(len(b))); err == nil {
			end := int64(0)
			for _, at := range m.messages {
				if at.from < end || at.to < at.from || at.to > int64(len(b)) {
					t.Fatalf("message from %d to %d of %d, behind %d", at.from, at.to, len(b), end)
				}
				end = at.to
			}
		}
		sp := newSpool()
		sp.Write(b)
		sp.end()
		var message, out bytes.Buffer
		message.ReadFrom(sp.reader())
		w := bufio.NewWriter(&out)
		for range 2 {
			if err := writeMbox(w, sp, time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		bodies, _ := read(t, out.String())
		if len(bodies) != 2 || bodies[0] != message.String() || bodies[1] != message.String() {
			t.Fatalf("%q came back as %q", message.String(), bodies)
		}
	})
}

// TestSpool holds the canonical form against messages of all sizes and pieces.
func TestSpool(t *testing.T) {
	sp := newSpool()
	defer sp.close()
	large := strings.Repeat("0123456789abcdef\n", 200_000)
	for _, test := range []struct{ in, want string }{
		{"", ""}, {"a", "a\r\n"}, {"a\n", "a\r\n"}, {"a\r\n", "a\r\n"}, {"a\rb", "a\r\nb\r\n"}, {"\r\r\n\n", "\r\n\r\n\r\n"},
		{large, strings.ReplaceAll(large, "\n", "\r\n")}, {"b\n", "b\r\n"},
	} {
		for _, size := range []int{1, 3, 1 << 20} {
			sp.reset()
			for rest := []byte(test.in); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				if n, err := sp.Write(rest[:min(size, len(rest))]); err != nil || n != min(size, len(rest)) {
					t.Fatal(n, err)
				}
			}
			if err := sp.end(); err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			got.ReadFrom(sp.reader())
			if got.String() != test.want || sp.octets != int64(len(test.want)) {
				t.Errorf("%.40q in pieces of %d became %.40q of %d octets", test.in, size, got.String(), sp.octets)
			}
		}
	}
}
