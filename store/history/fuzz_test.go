package history

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

// FuzzLine: whatever a stranger says, an event is whole lines of printable JSON, which say it again when they are read and
// written once more, and it is found by what was said.
func FuzzLine(f *testing.F) {
	f.Add("a@b.example", "x@y.example", "one@b", "unknown", int64(3))
	f.Add(`"\`+"\x00\r\n\x7f", "\xff\xfe\u2028\u00ad", "<a\"b>", "\\u0041", int64(-1))
	f.Add("J\u00d6RG@B\u00fccher.example", "\"a b\"@y", "", "", int64(0))
	f.Fuzz(func(t *testing.T, from, to, messageID, reason string, octets int64) {
		e := store.Event{
			Time: start(), Kind: store.EventRefused, Session: reason, Remote: from, From: reversePath(from), To: canonicals([]string{to, from, to}),
			Octets: octets, MessageID: messageID, Verb: to, Code: int(int32(octets)), Reason: reason, Count: octets, First: start(),
		}
		line := appendEvent(nil, &e)
		if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' || bytes.ContainsAny(line, "\x00\r\x7f\x1b") || len(line) > maxLine {
			t.Fatalf("no line: %q", line)
		}
		read, ok := decodeLine(line)
		if !ok {
			t.Fatalf("can't be read: %q", line)
		}
		if again := appendEvent(nil, &read); !bytes.Equal(again, line) {
			t.Fatalf("read and written again:\n%q\n%q", line, again)
		}
		for _, text := range []string{from, to, messageID} {
			if text = string(bytes.TrimSpace([]byte(text))); text == "" || text != from && text != to && text != messageID {
				continue
			}
			sought := newSought(text)
			if !sought.id.IsZero() || text[0] == '<' && text[len(text)-1] == '>' {
				continue
			}
			if !sought.in(line) || !sought.fits(&read) {
				t.Fatalf("%q is not found in %q", text, line)
			}
		}
	})
}

// FuzzFile: whatever a file holds, what is appended is found, and the file can be read.
func FuzzFile(f *testing.F) {
	whole := appendEvent(nil, &store.Event{Time: start(), Kind: store.EventDeleted, Messages: []store.ID{{1}, {2}}, Accounts: []string{alice}})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(whole[:30])
	f.Add(append([]byte("\x00\x00garbage\n{\"time\":\"2026-11-26T12:00:00Z\",\"event\":\"x\",\"msgs\":[\"\n"), whole...))
	f.Add([]byte(`{"msgs":["01ARZ3NDEKTSV4RRFFQ69G5FAV","`))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := filepath.Join(t.TempDir(), "history")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "2026-11-26.mail.jsonl")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c := newClock()
		l, err := Open(dir, Options{FS: vfs.OS{}, Now: c.now, Policy: month(), interval: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		id := store.ID{0: 1, 15: 9}
		l.Add(store.Event{Kind: store.EventAccepted, Messages: []store.ID{id}, From: "new@elsewhere.example", Accounts: []string{alice}})
		for _, text := range []string{id.String(), "new@elsewhere.example", alice} {
			traced, err := l.Trace(t.Context(), store.Query{Text: text})
			if err != nil || len(traced.Events) == 0 {
				t.Fatalf("%s: %+v, %v", text, traced, err)
			}
		}
		written, err := os.ReadFile(name)
		if err != nil || !bytes.HasPrefix(written, content) {
			t.Fatalf("what was there was changed: %v", err)
		}
	})
}
