package probe

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// stuffed is content as it goes over the wire.
func stuffed(t testing.TB, pieces ...[]byte) []byte {
	t.Helper()
	var wire bytes.Buffer
	s := newStuffer(bufio.NewWriter(&wire))
	for _, piece := range pieces {
		if n, err := s.Write(piece); n != len(piece) || err != nil {
			t.Fatalf("%d of %d octets were written: %v", n, len(piece), err)
		}
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	return wire.Bytes()
}

// TestRFC5321Section4_5_2 stuffs dots at the start of lines and nowhere else, wherever the pieces are cut.
func TestRFC5321Section4_5_2(t *testing.T) {
	for content, want := range map[string]string{
		"":                 ".\r\n",
		"a\r\n":            "a\r\n.\r\n",
		"a":                "a\r\n.\r\n",
		".":                "..\r\n.\r\n",
		".\r\n":            "..\r\n.\r\n",
		".\r\n.\r\n":       "..\r\n..\r\n.\r\n",
		"..\r\n":           "...\r\n.\r\n",
		"a.\r\n.b\r\n":     "a.\r\n..b\r\n.\r\n",
		"a\n.b\r.c\r\n":    "a\n.b\r.c\r\n.\r\n",
		"\r\n\r\n.\r\r\n.": "\r\n\r\n..\r\r\n..\r\n.\r\n",
	} {
		if got := stuffed(t, []byte(content)); string(got) != want {
			t.Errorf("%q: %q, want %q", content, got, want)
		}
		for i := range len(content) {
			if got := stuffed(t, []byte(content[:i]), []byte(content[i:])); string(got) != want {
				t.Errorf("%q cut at %d: %q, want %q", content, i, got, want)
			}
		}
	}
}

// unstuff reads wire as the content of a reply.
func unstuff(r io.Reader) (content []byte, octets int64, rest []byte, err error) {
	c := &conn{r: bufio.NewReaderSize(r, 16)} // the least that bufio has
	var b bytes.Buffer
	octets, err = c.content(&b)
	if err == nil {
		rest, err = io.ReadAll(c.r)
	}
	return b.Bytes(), octets, rest, err
}

// FuzzContent wants that what was stuffed comes out as it went in, however it is cut, and that nothing behind the end is
// touched.
func FuzzContent(f *testing.F) {
	for _, seed := range []string{"", ".", "\r", "\r\n", "\r\n.\r\n", "a\r\r\n.", "..\r\n\r\n.x\r\n", "0123456789abcde\r\n.", "0123456789abcd\r\n.", "\n.\n", "\x00.\r"} {
		f.Add([]byte(seed), 1)
	}
	f.Fuzz(func(t *testing.T, content []byte, cut int) {
		cut = min(max(cut, 0), len(content))
		wire := append(stuffed(t, content[:cut], content[cut:]), "+OK next\r\n"...)
		want := content
		if !bytes.HasSuffix(want, []byte("\r\n")) && len(want) > 0 {
			want = append(bytes.Clone(want), "\r\n"...)
		}
		for _, r := range []io.Reader{bytes.NewReader(wire), iotest.OneByteReader(bytes.NewReader(wire)), iotest.HalfReader(bytes.NewReader(wire))} {
			got, octets, rest, err := unstuff(r)
			if err != nil || !bytes.Equal(got, want) || octets != int64(len(want)) || string(rest) != "+OK next\r\n" {
				t.Fatalf("%q came out as %q, %d octets, before %q: %v", content, got, octets, rest, err)
			}
		}
	})
}

// TestContentCutOff tells content that was cut off from content that ended.
func TestContentCutOff(t *testing.T) {
	wire := "a\r\n..b\r\n.\r\n"
	for i := range len(wire) {
		if _, _, _, err := unstuff(strings.NewReader(wire[:i])); err == nil {
			t.Errorf("%q counts as whole", wire[:i])
		}
	}
}

// TestContentThatCannotBeWritten ends with the writer's error, not with the content, which may be endless.
func TestContentThatCannotBeWritten(t *testing.T) {
	full := errors.New("the disk is full")
	c := &conn{r: bufio.NewReaderSize(strings.NewReader(strings.Repeat("line\r\n", 100)), 16)}
	if _, err := c.content(brokenWriter{full}); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }
