package pop3d

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// shutdown begins a shutdown and returns its result's channel.
func (b *bench) shutdown(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- b.server.Shutdown(ctx) }()
	return done
}

func result(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("Shutdown does not return")
		return nil
	}
}

// Idle sessions are told and ended, their marks are void, and no new one begins.
func TestShutdownEndsIdleSessions(t *testing.T) {
	f := newFake(standardMail(2)...)
	b := serve(t, f)
	before := b.dial()
	before.want("+OK*")
	after := b.login()
	after.ask("DELE 1", "+OK*")
	done := b.shutdown(context.Background())
	for _, c := range []*client{before, after} {
		c.want("-ERR [SYS/TEMP] shutting down, nothing was deleted")
		c.closed()
	}
	before.conn.Close()
	after.conn.Close()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
	if left, locked, _ := f.state(); len(left) != 2 || locked {
		t.Errorf("left %v, locked %t", left, locked)
	}
	late := b.dial()
	late.want("-ERR [SYS/TEMP] shutting down")
	late.closed()
	if err := b.server.Shutdown(context.Background()); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// A QUIT that is being carried out is finished and answered.
func TestShutdownWaitsForACommit(t *testing.T) {
	f := newFake(standardMail(2)...)
	b := serve(t, f)
	c := b.login()
	c.ask("DELE 1", "+OK*")
	began, goOn := make(chan struct{}), make(chan struct{})
	f.onCommit = func() { close(began); <-goOn }
	c.send("QUIT\r\n")
	<-began
	done := b.shutdown(context.Background())
	waitDraining(b)
	close(goOn)
	c.want("+OK mail.example.org POP3 server signing off (1 messages left)")
	c.closed()
	c.conn.Close()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
	if left, _, _ := f.state(); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}

// waitDraining waits until Shutdown has woken every session.
func waitDraining(b *bench) {
	for {
		b.server.mu.Lock()
		draining := b.server.draining
		b.server.mu.Unlock()
		if draining {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// A RETR under way is finished, and the session then ends.
func TestShutdownWaitsForARetr(t *testing.T) {
	body := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 20_000)
	f := newFake(body)
	b := serve(t, f)
	began, goOn := make(chan struct{}), make(chan struct{})
	f.retrieve = func(_ int, body []byte) (io.ReadCloser, error) {
		close(began)
		<-goOn
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	c := b.login()
	c.send("RETR 1\r\n")
	<-began
	done := b.shutdown(context.Background())
	waitDraining(b)
	close(goOn)
	c.want("+OK 1560000 octets")
	if c.body() != body {
		t.Error("the message was changed")
	}
	c.want("-ERR [SYS/TEMP] shutting down, nothing was deleted")
	c.closed()
	c.conn.Close()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}

// When the time is up, everything is closed, a client that does not read too.
func TestShutdownInTheEndClosesEverything(t *testing.T) {
	f := newFake(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 500_000))
	b := serve(t, f)
	c := b.login()
	c.send("RETR 1\r\n")
	c.want("+OK*") // and no more
	ctx, cancel := context.WithCancel(context.Background())
	done := b.shutdown(ctx)
	waitDraining(b)
	cancel()
	if err := result(t, done); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.sessions.Wait()
	if end := b.seen.end(t); end != "shutdown" {
		t.Errorf("it ended with %s", end)
	}
	if _, locked, _ := f.state(); locked {
		t.Error("the maildrop is still locked")
	}
}
