package storesock

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"example.org/letterbox/store"
)

// TestRetrieve in any order, to the end or not, with messages of every size around the window.
func TestRetrieve(t *testing.T) {
	b := &box{}
	for _, n := range []int{0, 1, 100, window - 1, 4096, 4096, window, window + 1, 3*window + 7, streamBuffer - headLength, 50, 5 << 20, 60} {
		b.messages = append(b.messages, strings.Repeat("0123456789abcdef", n/16+1)[:n])
	}
	s := startServices(t, b)
	m := openBox(t, s)
	whole := func(i int) {
		t.Helper()
		r, err := m.Retrieve(t.Context(), i)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != b.messages[i] {
			t.Fatalf("message %d: %d octets, %v", i, len(got), err)
		}
		if n, err := r.Read(make([]byte, 9)); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d, %v", n, err)
		}
		r.Close()
	}
	part := func(i, n int) {
		t.Helper()
		r, err := m.Retrieve(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n)
		if _, err := io.ReadFull(r, got); err != nil || string(got) != b.messages[i][:n] {
			t.Fatalf("the first %d octets of message %d: %v", n, i, err)
		}
		r.Close()
		if _, err := r.Read(got); err == nil {
			t.Error("a closed message can be read")
		}
	}
	all := len(b.messages)
	for i := range all {
		whole(i)
	}
	for i := range all {
		whole(all - 1 - i)
		part(i, min(20, len(b.messages[i])))
		part(all-1-i, min(window+5, len(b.messages[all-1-i])))
		whole(i)
	}
	for range 3 { // left open
		old, err := m.Retrieve(t.Context(), 11)
		if err != nil {
			t.Fatal(err)
		}
		whole(1)
		if _, err := io.ReadAll(old); err == nil {
			t.Error("a message that was left open can still be read")
		}
	}
	if err := m.Commit(t.Context(), []int{1}); err != nil {
		t.Error(err)
	}
}

// counted counts what is read of it.
type counted struct {
	io.Reader
	mu sync.Mutex
	n  int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += int64(n)
	return n, err
}

func (c *counted) Close() error { return nil }

// TestRetrieveEarlyClose costs what was read and a window, and a client that does not read costs no more.
func TestRetrieveEarlyClose(t *testing.T) {
	const size = 50 << 20
	src := &counted{Reader: iotest.HalfReader(strings.NewReader(strings.Repeat("x", size)))}
	b := &box{messages: []string{strings.Repeat("x", size), "second"}}
	b.retrieve = func(i int) (io.ReadCloser, error) {
		if i == 0 {
			return src, nil
		}
		return io.NopCloser(strings.NewReader(b.messages[i])), nil
	}
	m := openBox(t, startServices(t, b))
	r, err := m.Retrieve(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r, err = m.Retrieve(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "second" {
		t.Errorf("%q %v", text, err)
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	if src.n > window {
		t.Errorf("%d octets were read of %d", src.n, size)
	}
}

// TestRetrieveErrors: an error comes at its message and at no other, also when it was read ahead; a store that gives another
// number of octets than it said is never believed.
func TestRetrieveErrors(t *testing.T) {
	b := &box{messages: []string{"one", "two", "three", "four", "five", "six"}}
	b.retrieve = func(i int) (io.ReadCloser, error) {
		text := b.messages[i]
		switch i {
		case 1:
			return nil, store.ErrCorrupt
		case 2:
			return io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(store.ErrCorrupt))), nil
		case 3:
			text = text[1:]
		case 4:
			text += "!"
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
	m := openBox(t, startServices(t, b))
	for range 2 {
		for i, want := range []error{nil, store.ErrCorrupt, store.ErrCorrupt, store.ErrUnavailable, store.ErrUnavailable, nil} {
			r, err := m.Retrieve(t.Context(), i)
			if err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("message %d: %v, want %v", i, err, want)
			}
		}
	}
}
