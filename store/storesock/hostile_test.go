package storesock

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// frame returns one frame as it is sent.
func frame(kind frameType, content string) []byte {
	var b bytes.Buffer
	_ = writeFrame(&b, kind, []byte(content)) // a buffer takes all
	return b.Bytes()
}

func ourHello() []byte { return frame(helloFrame, `{"protocol":2,"service":"admin"}`) }

// said returns a whole message in parts of n octets.
func said(t testing.TB, v any, n int) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for part := range slices.Chunk(text, n) {
		b = append(b, frame(partFrame, string(part))...)
	}
	return append(b, frame(endFrame, "")...)
}

// talk sends b, says that no more comes, and returns the server's frames behind its hello.
func talk(t testing.TB, path string, b []byte) []byte {
	t.Helper()
	c := rawDial(t, path)
	// The server may hang up before it has read all.
	if _, err := c.Write(b); err == nil {
		_ = c.CloseWrite()
	}
	answer, _ := io.ReadAll(c) // a reset is an end as well
	if kind, _, err := readFrame(bytes.NewReader(answer), maxHello); err != nil || kind != helloFrame {
		t.Fatalf("no hello: %v", err)
	}
	return answer[headLength+int(binary.BigEndian.Uint32(answer[1:])):]
}

// Every truncation of a request closes that connection, does nothing, and harms no other.
func TestServerTruncations(t *testing.T) {
	m := &memory{}
	path, _ := start(t, newServer(m))
	bystander := dial(t, path)
	whole := append(ourHello(), said(t, adminRequest{Op: opApply, Edits: []store.Edit{{Op: store.EnableAccount, Address: "a@x"}}}, 20)...)
	for n := range whole {
		if got := talk(t, path, whole[:n]); len(got) != 0 || m.calls() != 0 {
			t.Fatalf("%d of %d octets: answered %q, %d calls", n, len(whole), got, m.calls())
		}
	}
	if _, err := bystander.Directory(t.Context()); err != nil {
		t.Errorf("the bystander: %v", err)
	}
	if got := talk(t, path, whole); len(got) == 0 || m.calls() != 1 {
		t.Errorf("the whole: answered %q, %d calls", got, m.calls())
	}
}

func TestServerGarbage(t *testing.T) {
	m := &memory{}
	path, _ := start(t, newServer(m))
	bystander := dial(t, path)
	behind := func(b ...[]byte) []byte { return append(ourHello(), bytes.Join(b, nil)...) }
	end := frame(endFrame, "")
	for name, b := range map[string][]byte{
		"http":                []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"zeros":               make([]byte, 4096),
		"huge hello":          frame(helloFrame, strings.Repeat(" ", maxHello+1)),
		"hello not JSON":      frame(helloFrame, "hello"),
		"no hello":            said(t, adminRequest{Op: opApply}, 99),
		"wrong service":       append(frame(helloFrame, `{"protocol":2,"service":"deliver"}`), said(t, adminRequest{Op: opApply}, 99)...),
		"unknown frame":       behind(frame('?', "x")),
		"second hello":        behind(ourHello()),
		"frame too long":      behind([]byte{'P', 0xff, 0xff, 0xff, 0xff}),
		"just too long":       behind([]byte{'P', 0, 4, 0, 1}),
		"end with content":    behind(frame(partFrame, `{"op":"apply"}`), frame(endFrame, "x")),
		"empty part":          behind(frame(partFrame, "")),
		"end alone":           behind(end),
		"not JSON":            behind(frame(partFrame, "apply"), end),
		"two objects":         behind(frame(partFrame, `{"op":"apply"}{"op":"apply"}`), end),
		"unknown field":       behind(frame(partFrame, `{"op":"apply","purge":true}`), end),
		"unknown edit field":  behind(frame(partFrame, `{"op":"apply","edits":[{"op":"x","address":"a","purge":true}]}`), end),
		"wrong type":          behind(frame(partFrame, `{"op":"apply","revision":-1}`), end),
		"deep":                behind(frame(partFrame, `{"op":`+strings.Repeat("[", 200_000)), end),
		"hello inside":        behind(frame(partFrame, `{"op":`), ourHello(), frame(partFrame, `"apply"}`), end),
		"other protocol":      append(frame(helloFrame, `{"protocol":3,"service":"admin"}`), said(t, adminRequest{Op: opApply}, 99)...),
		"negative protocol":   append(frame(helloFrame, `{"protocol":-1,"service":"admin"}`), said(t, adminRequest{Op: opApply}, 99)...),
		"protocol not number": append(frame(helloFrame, `{"protocol":"1","service":"admin"}`), said(t, adminRequest{Op: opApply}, 99)...),
	} {
		if got := talk(t, path, b); len(got) != 0 || m.calls() != 0 {
			t.Errorf("%s: answered %q, %d calls", name, got, m.calls())
		}
	}
	if _, err := bystander.Directory(t.Context()); err != nil {
		t.Errorf("the bystander: %v", err)
	}
}

// A request of a newer client is answered, not cut off, and the connection goes on.
func TestUnknownRequest(t *testing.T) {
	path, _ := start(t, newServer(&memory{}))
	a := dial(t, path)
	_, err := a.call(t.Context(), adminRequest{Op: "of-tomorrow"})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if _, err := a.Directory(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// A message has a bound in all, not only in each frame.
func TestMessageBound(t *testing.T) {
	part := frame(partFrame, strings.Repeat("x", maxFrame))
	var parts []io.Reader
	for range 5 {
		parts = append(parts, bytes.NewReader(part))
	}
	w := newWire(scripted{r: io.MultiReader(parts...)}, time.Minute)
	w.limit = 5*maxFrame - 1
	if _, err := w.readMessage(); !errors.Is(err, errMessageSize) {
		t.Errorf("%v", err)
	}
}

// scripted is a connection that says what its reader holds and drops what it is told.
type scripted struct {
	net.Conn
	r io.Reader
}

func (s scripted) Read(b []byte) (int, error)       { return s.r.Read(b) }
func (s scripted) Write(b []byte) (int, error)      { return len(b), nil }
func (s scripted) Close() error                     { return nil }
func (s scripted) SetReadDeadline(time.Time) error  { return nil }
func (s scripted) SetWriteDeadline(time.Time) error { return nil }

// ask plays a client against a server that says b, and tells what its Directory call returned.
func ask(t testing.TB, b []byte) (store.Directory, error) {
	a, err := newAdminClient(t.Context(), scripted{r: bytes.NewReader(b)})
	if err != nil {
		return store.Directory{}, err
	}
	return a.Directory(t.Context())
}

// A server that breaks off anywhere gives a temporary error, and never half a directory.
func TestClientTruncations(t *testing.T) {
	whole := append(ourHello(), said(t, adminAnswer{Directory: &store.Directory{Revision: 3}}, 20)...)
	for n := range whole {
		if d, err := ask(t, whole[:n]); !errors.Is(err, store.ErrUnavailable) || d.Revision != 0 {
			t.Fatalf("%d of %d octets: %+v, %v", n, len(whole), d, err)
		}
	}
	if d, err := ask(t, whole); err != nil || d.Revision != 3 {
		t.Errorf("the whole: %+v, %v", d, err)
	}
}

func TestProtocolMismatch(t *testing.T) {
	_, err := ask(t, frame(helloFrame, `{"protocol":41,"service":"admin"}`))
	var mismatch *ProtocolError
	if !errors.As(err, &mismatch) || *mismatch != (ProtocolError{Ours: 2, Theirs: 41}) || !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("%#v", err)
	}
	if text := err.Error(); !strings.Contains(text, "protocol 41") || !strings.Contains(text, "protocol 2:") {
		t.Errorf("the sentence names not both: %s", text)
	}
	if _, err := ask(t, frame(helloFrame, `{"protocol":2,"service":"pickup"}`)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("another service: %v", err)
	}
}

func FuzzServer(f *testing.F) {
	request := said(f, adminRequest{Op: opApply, Revision: 1, Edits: []store.Edit{{Op: store.AddAccount, Address: "a@x", Hash: "h"}}}, 30)
	f.Add(append(ourHello(), request...))
	f.Add(append(ourHello(), said(f, adminRequest{Op: opDirectory}, 5)...))
	f.Add(append(ourHello(), frame(partFrame, `{"op":"apply","edits":null}`)...))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &memory{}
		s := newServer(m)
		w := newWire(scripted{r: bytes.NewReader(b)}, time.Minute)
		_, err := w.greeting(adminService)
		for n := 0; err == nil; n++ {
			if n > len(b) {
				t.Fatal("more requests than octets")
			}
			err = s.exchange(t.Context(), w)
		}
		if m.calls() > 0 && !bytes.Contains(b, []byte{'E', 0, 0, 0, 0}) {
			t.Fatal("a request without its end frame was carried out")
		}
	})
}

func FuzzClient(f *testing.F) {
	f.Add(append(ourHello(), said(f, adminAnswer{Directory: &store.Directory{Revision: 3, Accounts: []store.Account{{Address: "a@x"}}}}, 30)...))
	f.Add(append(ourHello(), said(f, adminAnswer{Failure: &failure{Code: "comet"}}, 30)...))
	f.Add(append(ourHello(), said(f, adminAnswer{Failure: &failure{Code: codeEdit, Edit: &store.EditError{}}}, 30)...))
	f.Add(frame(helloFrame, `{"protocol":3}`))
	f.Add(frame(helloFrame, `{"protocol":2,"refused":"user"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ask(t, b); err == nil && !bytes.Contains(b, []byte{'E', 0, 0, 0, 0}) {
			t.Fatal("an answer without its end frame was believed")
		}
	})
}
