package pop3d

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/secret"
)

// realStore is a store on disk with one account.
type realStore struct {
	*boltstore.Store
	t    testing.TB
	hash string // of testSecret
}

func newReal(t testing.TB) realStore {
	t.Helper()
	s, err := boltstore.Open(t.TempDir(), boltstore.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	hash, err := secret.Hash(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	r := realStore{s, t, hash}
	r.account(testName)
	return r
}

// account makes an account and returns it as a recipient.
func (s realStore) account(name string) store.Recipient {
	s.t.Helper()
	edit := store.Edit{Op: store.AddAccount, Address: name, Hash: s.hash}
	if _, err := s.Apply(context.Background(), 0, []store.Edit{edit}); err != nil {
		s.t.Fatal(err)
	}
	return s.recipient(name)
}

func (s realStore) recipient(name string) store.Recipient {
	s.t.Helper()
	target, err := s.Resolve(context.Background(), store.Attempt{To: name})
	if err != nil {
		s.t.Fatal(err)
	}
	return store.Recipient{Maildrop: target.Maildrops[0], Prefix: []byte("Return-Path: <>\r\n")}
}

// deliver puts a message in as a receiver does.
func (s realStore) deliver(body string) {
	s.t.Helper()
	s.deliverTo(body, []store.Recipient{s.recipient(testName)})
}

func (s realStore) deliverTo(body string, to []store.Recipient) {
	s.t.Helper()
	ctx := context.Background()
	draft, err := s.Begin(ctx, store.Envelope{})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(draft, body); err != nil {
		s.t.Fatal(err)
	}
	final := store.Final{Trace: []byte("Received: by test\r\n"), Recipients: to}
	if err := draft.Commit(ctx, final); err != nil {
		s.t.Fatal(err)
	}
}

const realHead = "Return-Path: <>\r\nReceived: by test\r\n"

// fetchAll retrieves every message in one go and compares what came with what was announced.
func fetchAll(t *testing.T, c *client) (bodies, uidls []string) {
	t.Helper()
	c.ask("UIDL", "+OK*")
	for _, line := range strings.Split(strings.TrimSpace(c.body()), "\r\n") {
		if line != "" {
			uidls = append(uidls, strings.Fields(line)[1])
		}
	}
	c.ask("LIST", "+OK*")
	var sizes []string
	for _, line := range strings.Split(strings.TrimSpace(c.body()), "\r\n") {
		if line != "" {
			sizes = append(sizes, strings.Fields(line)[1])
		}
	}
	for i := range sizes {
		c.ask("RETR "+strconv.Itoa(i+1), "+OK "+sizes[i]+" octets")
		body := c.body()
		if strconv.Itoa(len(body)) != sizes[i] {
			t.Errorf("message %d has %d octets, announced were %s", i+1, len(body), sizes[i])
		}
		bodies = append(bodies, body)
	}
	return bodies, uidls
}

// A life of a maildrop on the store on disk: what was delivered comes out byte for byte, is kept by a session that ends
// without QUIT, deleted by one that ends with it, and mail that comes in between is seen by the next session alone.
func TestRealStore(t *testing.T) {
	s := newReal(t)
	sent := []string{
		"Subject: one\r\n\r\n.\r\n..\r\nend\r\n",
		"\r\n\x00\xff\r\n",
		"Subject: long\r\n\r\n" + strings.Repeat(strings.Repeat("z", 500)+"\r\n.dot\r\n", 1000),
	}
	for _, body := range sent {
		s.deliver(body)
	}
	b := serve(t, s)

	c := b.login()
	got, uidls := fetchAll(t, c)
	for i, body := range sent {
		if got[i] != realHead+body {
			t.Errorf("message %d: %.100q", i+1, got[i])
		}
		if !regexp.MustCompile(`^[\x21-\x7e]{1,70}$`).MatchString(uidls[i]) {
			t.Errorf("UIDL %q", uidls[i])
		}
	}
	s.deliver("Subject: later\r\n\r\n")
	c.ask("STAT", fmt.Sprintf("+OK 3 %d", len(strings.Join(got, ""))))
	c.ask("DELE 4", "-ERR no such message, only 3 in maildrop")
	c.ask("DELE 1", "+OK*")
	second := b.dial()
	second.want("+OK*")
	second.ask("USER "+testName, "+OK*")
	second.ask("PASS "+testSecret, "-ERR [IN-USE]*")
	second.ask("USER "+testName, "+OK*")
	second.ask("PASS wrong", "-ERR [AUTH] wrong name or password")
	second.ask("USER nobody@example.org", "+OK*")
	second.ask("PASS wrong", "-ERR [AUTH] wrong name or password")
	c.conn.Close() // no QUIT
	b.seen.end(t)

	c = b.login()
	again, sameUIDLs := fetchAll(t, c)
	if len(again) != 4 || !slices.Equal(again[:3], got) || !slices.Equal(sameUIDLs[:3], uidls) {
		t.Errorf("the second session sees %d messages, %v", len(again), sameUIDLs)
	}
	c.send("DELE 2\r\nDELE 4\r\nQUIT\r\n")
	c.want("+OK*")
	c.want("+OK*")
	c.want("+OK mail.example.org POP3 server signing off (2 messages left)")

	// The answer is out, so the lock is free and the deletion seen, at once.
	c = b.login()
	last, lastUIDLs := fetchAll(t, c)
	if want := []string{got[0], got[2]}; !slices.Equal(last, want) || !slices.Equal(lastUIDLs, []string{uidls[0], uidls[2]}) {
		t.Errorf("the third session sees %v", lastUIDLs)
	}
	c.ask("TOP 1 1", "+OK*")
	if top := c.body(); top != realHead+"Subject: one\r\n\r\n.\r\n" {
		t.Errorf("TOP gives %q", top)
	}
}

// An account that is removed takes its session's maildrop away.
func TestRealStoreRemovesAccount(t *testing.T) {
	s := newReal(t)
	s.deliver("A: b\r\n\r\n")
	b := serve(t, s)
	c := b.login()
	c.ask("DELE 1", "+OK*")
	edit := store.Edit{Op: store.RemoveAccount, Address: testName, DiscardMail: true}
	if _, err := s.Apply(context.Background(), 0, []store.Edit{edit}); err != nil {
		t.Fatal(err)
	}
	c.ask("QUIT", "-ERR [SYS/TEMP]*")
	c.closed()
	if end := b.seen.end(t); end != "lost" {
		t.Errorf("it ended with %s", end)
	}
}

// A store that was closed is no empty maildrop.
func TestRealStoreIsAway(t *testing.T) {
	s := newReal(t)
	s.deliver("A: b\r\n\r\n")
	b := serve(t, s)
	s.Close()
	c := b.dial()
	c.want("+OK*")
	c.ask("USER "+testName, "+OK*")
	c.ask("PASS "+testSecret, "-ERR [SYS/TEMP]*")
	if !bytes.Contains([]byte(b.log.String()), []byte("maildrop could not be opened")) {
		t.Error("the log does not say so")
	}
}
