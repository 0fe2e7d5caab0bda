package pop3d

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/letterbox/store"
)

func TestBusy(t *testing.T) {
	seen := newRecorder()
	s := New(Config{Store: newFake(), Observer: seen}, Policy{})
	for _, implicit := range []bool{false, true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			conn, err := ln.Accept()
			if err == nil {
				s.Busy(conn, Listener{Name: "pop", TLS: implicit})
			}
		}()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		said, err := io.ReadAll(conn)
		want := "-ERR [SYS/TEMP] too many connections, try again later\r\n"
		if implicit {
			want = ""
		}
		if string(said) != want || err != nil {
			t.Errorf("implicit %t: %q, %v", implicit, said, err)
		}
	}
	if seen.heard("connection pop busy") != 2 || seen.heard("start pop") != 0 {
		t.Errorf("%v", seen.lines)
	}
}

// The timers of RFC 1939 section 3 end a session in silence.
func TestTimers(t *testing.T) {
	const soon = 30 * time.Millisecond
	for name, c := range map[string]struct {
		policy Policy
		login  bool
		reason string
	}{
		"before login":        {Policy{AuthTimeout: soon}, false, "idle"},
		"until logged in":     {Policy{LoginTimeout: soon}, false, "slow"},
		"idle in transaction": {Policy{IdleTimeout: soon}, true, "idle"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(standardMail(1)...)
			b := serve(t, f, func(_ *Config, p *Policy, _ *Listener) { *p = c.policy })
			client := b.dial()
			client.want("+OK*")
			if c.login {
				client.ask("USER "+testName, "+OK*")
				client.send("PASS " + testSecret + "\r\nDELE 1\r\n")
				client.want("+OK maildrop*")
				client.want("+OK message 1 deleted")
			}
			client.closed()
			client.conn.Close()
			if end := b.seen.end(t); end != c.reason {
				t.Errorf("it ended with %s", end)
			}
			if left, locked, _ := f.state(); len(left) != 1 || locked {
				t.Errorf("left %v, locked %t", left, locked)
			}
		})
	}
}

// A handshake that does not come about ends the session; nothing is said in clear.
func TestHandshakeFails(t *testing.T) {
	for name, option := range map[string]option{
		"silence": func(_ *Config, p *Policy, l *Listener) { l.TLS, p.HandshakeTimeout = true, 30*time.Millisecond },
		"text":    func(_ *Config, _ *Policy, l *Listener) { l.TLS = true },
		"nothing to show": func(c *Config, _ *Policy, l *Listener) {
			l.TLS, c.TLS = true, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serve(t, newFake(), option)
			c := b.dial()
			if name == "text" {
				c.send("CAPA\r\nQUIT\r\n")
			}
			said, err := io.ReadAll(c.r)
			if err != nil || bytes.Contains(said, []byte("+OK")) || bytes.Contains(said, []byte("-ERR")) {
				t.Errorf("%q, %v", said, err)
			}
			c.conn.Close()
			if end := b.seen.end(t); end != "handshake" {
				t.Errorf("it ended with %s", end)
			}
			if name != "nothing to show" && b.seen.heard("handshake test none failed") != 1 {
				t.Errorf("%v", b.seen.lines)
			}
		})
	}
}

// TLS is 1.2 at least (RFC 8314 section 4.1), also where the configuration allows less.
func TestOldTLSIsRefused(t *testing.T) {
	b := serve(t, newFake(), func(c *Config, _ *Policy, _ *Listener) {
		c.TLS = c.TLS.Clone()
		c.TLS.MinVersion = tls.VersionTLS10
	})
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c := b.dial()
		c.want("+OK*")
		c.ask("STLS", "+OK*")
		conn := tls.Client(c.conn, &tls.Config{
			InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version,
		})
		if err := conn.Handshake(); (err == nil) != ok {
			t.Errorf("version %x: %v", version, err)
		}
		conn.Close()
		b.seen.end(t)
	}
	for _, line := range []string{"handshake test none failed", "handshake test 1.2 ok", "handshake test 1.3 ok"} {
		if b.seen.heard(line) != 1 {
			t.Errorf("%q is missing in %v", line, b.seen.lines)
		}
	}
}

// A policy that is replaced binds the sessions that begin after it.
func TestSetPolicy(t *testing.T) {
	b := serve(t, newFake(standardMail(1)...))
	old := b.dial()
	old.want("+OK*")
	b.server.SetPolicy(Policy{Plaintext: PlaintextNever})
	fresh := b.dial()
	fresh.want("+OK*")
	fresh.ask("USER "+testName, "-ERR passwords are not taken without TLS*")
	old.ask("USER "+testName, "+OK*")
}

// A client that takes nothing is ended when its time is up; one that takes an octet now and then is not, however long the
// whole may last.
func TestSlowReader(t *testing.T) {
	const patience = 10 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		began := time.Now()
		_, err := (&guard{Conn: ours, patience: patience}).Write(make([]byte, 64))
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took < patience || took > patience+patience/writeProbes {
			t.Errorf("a client that takes nothing: %v after %v", err, took)
		}
		theirs.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for {
				time.Sleep(patience - time.Minute)
				if _, err := theirs.Read(make([]byte, 1)); err != nil {
					return
				}
			}
		}()
		if n, err := (&guard{Conn: ours, patience: patience}).Write(make([]byte, 64)); n != 64 || err != nil {
			t.Errorf("a client that is slow: %d, %v", n, err)
		}
		ours.Close()
		<-gone
	})
}

// A session that lists a large maildrop to a client on a slow line tells the store so all the time: no login may take its
// maildrop, however little each write takes.
func TestListingIsNeverSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := newFake()
		for i := range 40_000 {
			mail.mail = append(mail.mail, fakeMessage{uidl: fmt.Sprintf("%070d", i)})
		}
		last, silent := time.Now(), time.Duration(0)
		mail.onActive = func() {
			silent, last = max(silent, time.Since(last)), time.Now()
		}
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			New(Config{Hostname: "h", Store: mail}, Policy{Plaintext: PlaintextAlways}).Handle(ours, Listener{Name: "test"})
		}()
		go fmt.Fprintf(theirs, "USER %s\r\nPASS %s\r\nUIDL\r\nQUIT\r\n", testName, testSecret)
		began, piece := time.Now(), make([]byte, 2<<10)
		for {
			if _, err := theirs.Read(piece); err != nil {
				break
			}
			time.Sleep(70 * time.Millisecond)
		}
		<-done
		if took := time.Since(began); took < time.Minute || silent > 2*probeInterval {
			t.Errorf("the store heard nothing for %v of %v", silent, took)
		}
	})
}

// idlePickup is a store whose maildrops want to know when their session waits.
type idlePickup struct {
	*fakeStore
	idle func()
}

func (p idlePickup) Open(ctx context.Context, l store.Login) (store.Maildrop, error) {
	m, err := p.fakeStore.Open(ctx, l)
	if err != nil {
		return nil, err
	}
	return idleDrop{m, p.idle}, nil
}

type idleDrop struct {
	store.Maildrop
	idle func()
}

func (d idleDrop) Idle() { d.idle() }

// The store hears that the session waits once all that came was answered, and of a client that moves once a second.
func TestStoreHearsOfTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle, answered := 0, 0
		mail := newFake("a\r\n")
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			pickup := idlePickup{mail, func() { idle++ }}
			New(Config{Hostname: "h", Store: pickup}, Policy{Plaintext: PlaintextAlways}).Handle(ours, Listener{Name: "test"})
		}()
		go func() {
			for r := bufio.NewReader(theirs); ; answered++ {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
		}()
		send := func(commands string, answers, idles, moves int) {
			t.Helper()
			was, wasIdle, wasActive := answered, idle, mail.active
			fmt.Fprint(theirs, commands)
			synctest.Wait()
			if answered-was != answers || idle-wasIdle != idles || mail.active-wasActive != moves {
				t.Errorf("%q: %d answers, %d times idle, %d moves; want %d, %d, %d",
					commands, answered-was, idle-wasIdle, mail.active-wasActive, answers, idles, moves)
			}
		}
		synctest.Wait()
		send("USER "+testName+"\r\n", 1, 0, 0)
		// Each write of answers is a move, too.
		send("PASS "+testSecret+"\r\n", 1, 1, 1)
		send(strings.Repeat("NOOP\r\n", 60), 60, 1, 2)
		time.Sleep(activeEvery / 2)
		send("NOOP\r\nNOOP\r\n", 2, 1, 1)
		time.Sleep(activeEvery)
		send("NOOP\r\n", 1, 1, 2)
		send("QUIT\r\n", 1, 0, 0)
		theirs.Close()
		<-done
	})
}
