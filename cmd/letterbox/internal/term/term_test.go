package term

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := Table(&b, []string{"A", "LONGER"}, [][]string{{"a long cell", "1"}, {"x\x1b[31m", "2"}}); err != nil {
		t.Fatal(err)
	}
	want := "A            LONGER\na long cell  1\nx\\x1b[31m    2\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "grün 😀": "grün 😀", "a\tb": `a\x09b`, "\u009b31m": `\x9b31m`, "\xff": `\xfffd`, "": "",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{"": "", "secret": "secret", " secret \n": " secret ", "secret\r\n": "secret", "\n": ""} {
		if got, err := Line(strings.NewReader(in)); err != nil || got != want {
			t.Errorf("%q became %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"one\ntwo\n", "one\n\n", strings.Repeat("x", maxLine+1)} {
		if got, err := Line(strings.NewReader(in)); err == nil {
			t.Errorf("%d octets became %q", len(in), got)
		}
	}
}

func TestOctets(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 50 << 20: "50.0 MiB", 1 << 62: "4.0 EiB"} {
		if got := Octets(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, []string{"<a@b>"}); err != nil || b.String() != "[\n  \"<a@b>\"\n]\n" {
		t.Errorf("%q %v", b.String(), err)
	}
}
