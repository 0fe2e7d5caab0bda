package smtpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// TestResolveReplies is what a client hears for each thing that the store may say, and never the store's own words.
func TestResolveReplies(t *testing.T) {
	for _, tt := range []struct {
		err         error
		want, label string
	}{
		{store.ErrNoMaildrop, "550 5.1.1 ", "unknown"},
		{store.ErrNotLocal, "550 5.7.1 ", "not-local"},
		{store.ErrDisabled, "550 5.2.1 ", "disabled"},
		{store.ErrBlocked, "550 5.7.1 ", "blocked"},
		{store.ErrOverQuota, "452 4.2.2 ", "over-quota"},
		{store.ErrFull, "452 4.3.1 ", "full"},
		{store.ErrUnready, "451 4.3.0 ", "temporary"},
		{store.ErrUnavailable, "451 4.3.0 ", "temporary"},
		{errors.New("disk on fire"), "451 4.3.0 ", "temporary"},
		{context.Canceled, "451 4.3.0 ", "temporary"},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			b := newBench(t, Policy{}, Listener{Name: "test"})
			b.store.resolve = func(store.Attempt) (store.Target, error) {
				return store.Target{}, fmt.Errorf("secret path: %w", tt.err)
			}
			c := b.hello()
			c.do("MAIL FROM:<eve@b.test>", "250 ")
			got := c.do("RCPT TO:<ann@a.test>", tt.want)
			if strings.Contains(got, "secret") || strings.Contains(got, "fire") {
				t.Errorf("the store's words went out: %s", got)
			}
			sid := got[strings.Index(got, "(session ")+9 : len(got)-1]
			if !strings.Contains(b.log.String(), sid) || !strings.Contains(b.log.String(), "secret path") {
				t.Errorf("%s is not in the log:\n%s", sid, b.log)
			}
			if !b.watch.has("recipient " + tt.label) {
				t.Error(b.watch.seen)
			}
		})
	}
}

// TestStoreFails has the store fail at each step of a message. It is never permanent, nothing is kept, and the connection
// goes on.
func TestStoreFails(t *testing.T) {
	for step, arm := range map[string]func(*recorder, error){
		"begin":  func(r *recorder, err error) { r.begin = func() error { return err } },
		"write":  func(r *recorder, err error) { r.write = func() error { return err } },
		"commit": func(r *recorder, err error) { r.commit = func(context.Context) error { return err } },
	} {
		for _, tt := range []struct {
			err         error
			want, label string
		}{
			{store.ErrFull, "452 4.3.1 ", "full"},
			{store.ErrUnavailable, "451 4.3.0 ", "store"},
			{store.ErrNoMaildrop, "451 4.3.0 ", "store"},
			{errors.New("disk on fire"), "451 4.3.0 ", "store"},
		} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprint(step, tt.err, chunked), func(t *testing.T) {
					b := newBench(t, Policy{}, Listener{Name: "test"})
					arm(b.store, fmt.Errorf("secret path: %w", tt.err))
					c := b.hello()
					c.envelope()
					if chunked {
						c.send("BDAT 12 LAST\r\na: b\r\n\r\nNO\r\n")
					} else {
						c.do("DATA", "354 ")
						c.send("a: b\r\n\r\nNO\r\n.\r\n")
					}
					if got := c.want(tt.want); strings.Contains(got, "secret") {
						t.Errorf("the store's words went out: %s", got)
					}
					c.do("MAIL FROM:<eve@b.test>", "250 ")
					c.do("QUIT", "221 ")
					b.ended(endQuit)
					if !b.watch.hasPrefix("message deferred "+tt.label) || len(b.store.all()) != 0 {
						t.Error(b.watch.seen)
					}
				})
			}
		}
	}
}

// TestPanics has each callback panic: that connection ends with 421 and is logged once, and others go on.
func TestPanics(t *testing.T) {
	boom := func() { panic("boom") }
	for step, arm := range map[string]func(*recorder){
		"resolve": func(r *recorder) {
			r.resolve = func(store.Attempt) (store.Target, error) { boom(); return store.Target{}, nil }
		},
		"begin":   func(r *recorder) { r.begin = func() error { boom(); return nil } },
		"write":   func(r *recorder) { r.write = func() error { boom(); return nil } },
		"commit":  func(r *recorder) { r.commit = func(context.Context) error { boom(); return nil } },
		"discard": func(r *recorder) { r.discard = boom },
	} {
		for _, how := range []string{"data", "bdat", "lmtp", "lmtp-bdat"} {
			t.Run(step+" "+how, func(t *testing.T) {
				lmtp := strings.HasPrefix(how, "lmtp")
				b := newBench(t, Policy{}, Listener{Name: "test", LMTP: lmtp})
				hello := map[bool]string{false: "EHLO x", true: "LHLO x"}[lmtp]
				other := b.dial()
				other.want("220 ")
				other.do(hello, "250 ")

				arm(b.store)
				c := b.dial()
				c.want("220 ")
				c.do(hello, "250 ")
				body := "a: b\r\n\r\n.\r\n"
				send := "BDAT 11 LAST\r\n" + body
				if !strings.HasSuffix(how, "bdat") {
					send = "DATA\r\n" + body
				}
				c.send("MAIL FROM:<eve@b.test>\r\nRCPT TO:<ann@a.test>\r\n" + send)
				for {
					got := c.reply()
					if strings.HasPrefix(got, "421 4.3.0 ") {
						break
					}
					if got[0] == '(' {
						t.Fatalf("no 421, but %s", got)
					}
				}
				c.want("(closed)")
				b.ended(endPanic)
				if n := strings.Count(b.log.String(), "boom"); n != 1 {
					t.Errorf("logged %d times:\n%s", n, b.log)
				}
				other.do("NOOP", "250 ")
			})
		}
	}
}

// TestPanicOutsideCommands has the observer panic where go-smtp would not catch it.
func TestPanicOutsideCommands(t *testing.T) {
	b := newBench(t, Policy{}, Listener{Name: "test"})
	other := b.dial()
	other.want("220 ") // which is no command, and not counted
	b.watch.panics.Store(true)
	c := b.dial()
	c.want("220 ")
	c.send("NOOP\r\nNOOP\r\n")
	c.want("250 ")
	c.want("421 4.3.0 ")
	c.want("(closed)")
	b.ended(endPanic)
	b.watch.panics.Store(false)
	other.do("EHLO x", "250 ")
}

// TestShutdownStates stops the server while sessions are in each state.
func TestShutdownStates(t *testing.T) {
	b := newBench(t, Policy{}, Listener{Name: "test"})
	committing, goOn := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	b.store.commit = func(ctx context.Context) error {
		if !once.CompareAndSwap(false, true) {
			return nil
		}
		close(committing)
		select {
		case <-goOn:
			return nil
		case <-ctx.Done(): // the test has failed
			return ctx.Err()
		}
	}
	inCommit := b.hello()
	inCommit.envelope()
	inCommit.do("DATA", "354 ")
	inCommit.send("a: b\r\n.\r\n")
	<-committing

	fresh := b.dial()
	fresh.want("220 ")
	idle, idleTLS := b.hello(), b.helloTLS()
	enveloped, inBody, inChunk := b.hello(), b.helloTLS(), b.hello()
	enveloped.envelope()
	inBody.envelope()
	inBody.do("DATA", "354 ")
	inBody.send("a: b\r\n")
	inChunk.envelope()
	inChunk.send("BDAT 6\r\na: b\r\n")
	inChunk.want("250 ")
	inChunk.send("BDAT 6\r\n")

	down := make(chan error)
	go func() { down <- b.server.Shutdown(context.Background()) }()
	for _, c := range []*client{fresh, idle, idleTLS, enveloped} { // an envelope without content is no reason to wait
		c.want("421 4.3.2 ")
		c.want("(closed)")
		b.ended(endShutdown)
	}
	late := b.dial()
	late.want("421 4.3.2 ")
	late.want("(closed)")

	inBody.send(".\r\n")
	inChunk.send("\r\n1234")
	inChunk.want("250 ")
	inChunk.send("BDAT 0 LAST\r\n")
	close(goOn)
	for _, c := range []*client{inCommit, inBody, inChunk} {
		c.want("250 2.0.0 queued as ")
		c.want("421 4.3.2 ")
		c.want("(closed)")
		b.ended(endShutdown)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if n := len(b.store.all()); n != 3 {
		t.Errorf("%d messages", n)
	}
}

// TestShutdownOfStalled: who stalls inside a message hears 421 when patience ends, in clear and under TLS.
func TestShutdownOfStalled(t *testing.T) {
	b := newBench(t, Policy{}, Listener{Name: "test"})
	clients := []*client{b.hello(), b.helloTLS()}
	for _, c := range clients {
		c.envelope()
		c.do("DATA", "354 ")
		c.send("a: b\r\n")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, c := range clients {
		c.want("421 4.3.2 ")
		c.want("(closed)")
	}
	if n := len(b.store.all()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestShutdownWithoutPatience closes what is left when the context ends; none of it was acknowledged.
func TestShutdownWithoutPatience(t *testing.T) {
	b := newBench(t, Policy{}, Listener{Name: "test"})
	committing := make(chan struct{})
	b.store.commit = func(ctx context.Context) error {
		close(committing)
		<-ctx.Done()
		return ctx.Err()
	}
	inCommit := b.hello()
	inCommit.envelope()
	inCommit.do("DATA", "354 ")
	inCommit.send("a: b\r\n.\r\n")
	<-committing
	inBody := b.helloTLS()
	inBody.envelope()
	inBody.do("DATA", "354 ")
	b.serve(Listener{Name: "tls", TLS: true})
	handshaking := b.dial()
	for range 3 {
		<-b.watch.starts
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, c := range []*client{inCommit, inBody, handshaking} {
		if got := c.reply(); got[0] == '2' {
			t.Error(got)
		}
		b.ended(endShutdown)
	}
	if n := len(b.store.all()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestBusy turns connections away.
func TestBusy(t *testing.T) {
	for _, l := range []Listener{{Name: "a"}, {Name: "b", TLS: true}} {
		b := newBench(t, Policy{}, l)
		mine, theirs := net.Pipe()
		go b.server.Busy(theirs, l)
		c := &client{t: t, conn: mine}
		c.conn.SetDeadline(time.Now().Add(testPatience))
		text := make([]byte, 100)
		n, _ := mine.Read(text)
		if want := "421 4.3.2 mx.a.test is too busy, try again later\r\n"; !l.TLS && string(text[:n]) != want {
			t.Errorf("got %q", text[:n])
		}
		if l.TLS && n != 0 {
			t.Errorf("got %q where TLS comes first", text[:n])
		}
		if !b.watch.has("connection " + l.Name + " busy") {
			t.Error(b.watch.seen)
		}
	}
}

// TestPolicyOfASession is the one that it began with.
func TestPolicyOfASession(t *testing.T) {
	b := newBench(t, Policy{MaxMessageBytes: 100}, Listener{Name: "test"})
	c := b.hello()
	b.server.SetPolicy(Policy{MaxMessageBytes: 10})
	c.do("MAIL FROM:<eve@b.test> SIZE=100", "250 ")
	b.hello().do("MAIL FROM:<eve@b.test> SIZE=11", "552 ")
}

// TestLogLines looks at the two lines that each message and session leave.
func TestLogLines(t *testing.T) {
	b := newBench(t, Policy{}, Listener{Name: "test"})
	c := b.hello()
	c.do("MAIL FROM:<\"e\xc2\xa0ve\"@b.test>", "553 ") // a no-break space can't be printed as it is
	c.envelope()
	c.do("DATA", "354 ")
	c.send("a: b\r\n.\r\n")
	got := c.want("250 ")
	c.do("QUIT", "221 ")
	b.ended(endQuit)
	id := got[strings.LastIndex(got, " ")+1:]
	for _, want := range []string{
		`"msg":"` + id + `"`, `"to":["ann@a.test"]`, `"from":"eve@b.test"`, `"result":"accepted"`, `"octets":6`,
		`"reason":"quit"`, `"remote":"127.0.0.1"`, `"listener":"test"`, `"from":"e?ve@b.test"`,
	} {
		if strings.Count(b.log.String(), want) < 1 {
			t.Errorf("no %s in\n%s", want, b.log)
		}
	}
}
