package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// What goes by is shown on a terminal alone, and its line is ended.
func TestProgressOfOctets(t *testing.T) {
	var terminal, file bytes.Buffer
	for _, p := range []*progress{{c: &call{stderr: &terminal}, terminal: true}, {c: &call{stderr: &file}}} {
		out := &octets{progress: p, what: "written", w: io.Discard}
		for range 3 {
			if n, err := out.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
				t.Errorf("wrote %d octets, %v", n, err)
			}
		}
		out.end()
		in := &octets{progress: p, what: "read", r: strings.NewReader("hello")}
		if text, err := io.ReadAll(in); string(text) != "hello" || err != nil || in.n != 5 {
			t.Errorf("read %q, %v; counted %d", text, err, in.n)
		}
		in.end()
	}
	if got := terminal.String(); !strings.HasPrefix(got, "\r\x1b[K1.0 MiB written\n") {
		t.Errorf("on a terminal: %q", got)
	}
	if file.Len() > 0 {
		t.Errorf("elsewhere: %q", file.String())
	}
}
