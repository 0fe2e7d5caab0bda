package pop3d

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func newTestWriter(dst io.Writer) *writer {
	return &writer{dst: dst, pool: newSlabs()}
}

// readAllLines drives the reader as a session does.
func readAllLines(src io.Reader) (lines []string, err error) {
	r := &lineReader{src: src}
	for {
		line, ok, err := r.take()
		if err != nil {
			return lines, err
		}
		if ok {
			lines = append(lines, string(line))
			continue
		}
		if err := r.fill(); err != nil {
			return lines, err
		}
		if len(r.buf) > maxLine {
			return lines, errors.New("the buffer grew beyond its bound")
		}
	}
}

// FuzzLineReader compares the reader with a model, whatever the pieces in which the octets come.
func FuzzLineReader(f *testing.F) {
	f.Add([]byte("USER a\r\nPASS b\r\nQUIT\r\n"), uint8(1))
	f.Add([]byte("\n\r\n\r\r\na\rb\n"), uint8(3))
	f.Add([]byte("\x16\x03\x01"), uint8(2))
	f.Add([]byte("NOOP\r\n\x00\r\n"), uint8(0))
	f.Add(bytes.Repeat([]byte("x"), maxLine+1), uint8(0))
	f.Add(append(bytes.Repeat([]byte("x"), maxLine-1), '\n'), uint8(0))
	f.Add(bytes.Repeat([]byte("STAT\r\n"), 3000), uint8(0))
	f.Fuzz(func(t *testing.T, input []byte, piece uint8) {
		var src io.Reader = bytes.NewReader(input)
		if piece > 0 {
			src = &pieces{src, int(piece)}
		}
		lines, err := readAllLines(src)
		want, wantErr := modelLines(input)
		if strings.Join(lines, "\n") != strings.Join(want, "\n") || len(lines) != len(want) {
			t.Errorf("%q, want %q", lines, want)
		}
		if !errors.Is(err, wantErr) {
			t.Errorf("%v, want %v", err, wantErr)
		}
	})
}

// pieces gives at most n octets at a time.
type pieces struct {
	io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.n)]) }

func modelLines(input []byte) (lines []string, err error) {
	for len(input) > 0 {
		if input[0] < ' ' && input[0] != '\r' && input[0] != '\n' {
			return lines, errNotText
		}
		line, rest, ended := bytes.Cut(input, []byte("\n"))
		if len(line) >= maxLine {
			return lines, errLineTooLong
		}
		if !ended {
			break
		}
		lines = append(lines, strings.TrimSuffix(string(line), "\r"))
		input = rest
	}
	return lines, io.EOF
}

// FuzzDotStuffing sends any body, read in any pieces, and reads it back with textproto, which turns CRLF into LF, and
// with a reader that does not.
func FuzzDotStuffing(f *testing.F) {
	for _, body := range []string{
		"", ".", "\n", "\r\n", ".\r\n", "..\r\n", "\r\n.\r\n", "\r\n.\r\n.\r\n.", "a\r\n.b\r\n", "a\n.b\n", strings.Repeat(".\r\n", 30_000),
		strings.Repeat("\n.", 50_000), strings.Repeat("x", 100_000), "\x00\xff\r\n", strings.Repeat(strings.Repeat("y", 998)+"\r\n", 99),
	} {
		f.Add([]byte(body), uint16(0))
		f.Add([]byte(body), uint16(7))
	}
	f.Fuzz(func(t *testing.T, body []byte, piece uint16) {
		var src io.Reader = bytes.NewReader(body)
		if piece > 0 {
			src = &pieces{src, int(piece)}
		}
		var sent bytes.Buffer
		w := newTestWriter(&sent)
		s := &session{policy: &Policy{}, box: newMaildrop(&fakeDrop{f: newFake()}, "")}
		if err := s.send(w, src, int64(len(body)), outBuffer); err != nil {
			t.Fatal(err)
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		want := string(body)
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\r\n" // the store's bodies end in CRLF; for any other one is put there
		}
		if got := unstuff(t, sent.String()); got != want {
			t.Errorf("%.200q came as %.200q", want, got)
		}
		normal := strings.ReplaceAll(want, "\r\n", "\n")
		if strings.Contains(normal, "\r") || strings.Count(normal, "\n") != strings.Count(want, "\r\n") {
			return // textproto reads a bare CR or LF in ways of its own; the store's bodies hold none
		}
		if got, err := io.ReadAll(dotReader(&sent)); err != nil || string(got) != normal {
			t.Errorf("textproto: %.200q came as %.200q, %v", normal, got, err)
		}
	})
}

// unstuff is the model: what the client does by RFC 1939 section 3.
func unstuff(t *testing.T, sent string) string {
	t.Helper()
	var body strings.Builder
	for {
		line, rest, ok := strings.Cut(sent, "\n")
		if !ok {
			t.Fatalf("no dot at the end: %.200q", line)
		}
		if line == ".\r" {
			if rest != "" {
				t.Fatalf("%.200q behind the dot", rest)
			}
			return body.String()
		}
		body.WriteString(strings.TrimPrefix(line, ".") + "\n")
		sent = rest
	}
}

// FuzzTop compares TOP with a model.
func FuzzTop(f *testing.F) {
	for _, body := range []string{
		"", "A: b\r\n", "A: b\r\n\r\n", "A: b\r\n\r\nx\r\ny\r\n", "\r\nx\r\n", "\r\n\r\n", "A: b\n\nx\n", "A\r\r\n\r\n", "a\r\n\rb\r\n\r\nc\r\nd\r\n",
	} {
		for _, n := range []int64{0, 1, 2, 1 << 62} {
			f.Add([]byte(body), n, uint8(0))
			f.Add([]byte(body), n, uint8(1))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, n int64, piece uint8) {
		if n < 0 {
			return // parseNumber lets none through
		}
		var src io.Reader = bytes.NewReader(body)
		if piece > 0 {
			src = &pieces{src, int(piece)}
		}
		got, err := io.ReadAll(&topReader{src: src, lines: n})
		if err != nil {
			t.Fatal(err)
		}
		if want := modelTop(body, n); string(got) != want {
			t.Errorf("TOP %d of %q is %q, want %q", n, body, got, want)
		}
	})
}

func modelTop(body []byte, n int64) string {
	var top strings.Builder
	inBody := false
	for _, line := range strings.SplitAfter(string(body), "\n") {
		if inBody && n == 0 {
			break
		}
		top.WriteString(line)
		if inBody {
			n--
		}
		inBody = inBody || line == "\r\n" || line == "\n"
	}
	return top.String()
}

// A reply that fails before any of it left can be taken back, and not after.
func TestRollback(t *testing.T) {
	var sent bytes.Buffer
	w := newTestWriter(&sent)
	w.text("kept ")
	p := w.mark()
	w.text("gone")
	if !w.rollback(p) {
		t.Error("nothing had left")
	}
	p = w.mark()
	w.text("out")
	w.flush()
	if w.rollback(p) {
		t.Error("it had left")
	}
	if sent.String() != "kept out" {
		t.Errorf("%q", sent.String())
	}
}

// Errors of the connection stick: nothing is written behind a gap.
func TestWriterErrorsStick(t *testing.T) {
	w := newTestWriter(&failOnce{})
	w.text("a")
	first := w.flush()
	w.text("b")
	if second := w.flush(); first == nil || second != first {
		t.Errorf("%v, then %v", first, second)
	}
}

type failOnce struct{ failed bool }

func (f *failOnce) Write(p []byte) (int, error) {
	if f.failed {
		return len(p), nil
	}
	f.failed = true
	return 0, errors.New("broken pipe")
}

// A store's reader may give data and io.EOF at once, or one octet at a time.
func TestSendTakesAnyReader(t *testing.T) {
	body := strings.Repeat("a line\r\n.\r\n", 5000)
	for name, r := range map[string]io.Reader{
		"data and EOF": iotest.DataErrReader(strings.NewReader(body)), "one octet": iotest.OneByteReader(strings.NewReader(body)),
	} {
		var sent bytes.Buffer
		w := newTestWriter(&sent)
		s := &session{policy: &Policy{}, box: newMaildrop(&fakeDrop{f: newFake()}, "")}
		if err := s.send(w, r, int64(len(body)), outBuffer); err != nil {
			t.Fatal(name, err)
		}
		w.flush()
		if unstuff(t, sent.String()) != body {
			t.Error(name)
		}
	}
}
