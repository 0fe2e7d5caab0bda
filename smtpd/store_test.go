package smtpd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/secret"
	"github.com/rs/zerolog"
)

const password = "correct horse"

// TestRealStore sends through a real server into a real store and fetches everything back: the alias for two gives each a
// copy, an account by two names gets one, and nothing is lost or changed.
func TestRealStore(t *testing.T) {
	st := realStore(t)
	s := New(Config{Hostname: "mx.a.test", Store: st, Log: zerolog.Nop()}, Policy{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.Handle(c, Listener{Name: "test"})
		}
	}()

	sent := make(chan string, 40)
	var senders sync.WaitGroup
	for i := range 8 {
		senders.Go(func() {
			c := (&bench{t: t, addr: ln.Addr().String()}).hello()
			for n := range 5 {
				sent <- sendOne(c, i*5+n)
			}
			c.do("QUIT", "221 ")
		})
	}
	senders.Wait()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	close(sent)

	ann, bob := fetchAll(t, st, "ann@a.test"), fetchAll(t, st, "bob@a.test")
	if len(ann) != 40 || len(bob) != 40 {
		t.Fatalf("ann has %d, bob %d", len(ann), len(bob))
	}
	for body := range sent {
		for name, drop := range map[string]map[string]string{"ann": ann, "bob": bob} {
			head, ok := drop[body]
			if !ok {
				t.Fatalf("%s has not got %.40q", name, body)
			}
			if strings.Count(head, "Delivered-To: ") != 1 || !strings.HasPrefix(head, "Return-Path: <eve@b.test>\r\n") {
				t.Errorf("%s: head %q", name, head)
			}
		}
	}
	if !strings.Contains(fmt.Sprint(bob), "Delivered-To: both@a.test") {
		t.Error("bob has it by another name than the alias")
	}
}

// sendOne sends one message to ann, and to both, and returns its body.
func sendOne(c *client, n int) string {
	random := make([]byte, n*997)
	rand.Read(random)
	body := fmt.Sprintf("Subject: %d\r\n\r\n.%s\r\n", n, strings.Join(strings.SplitAfter(hex.EncodeToString(random), "00"), "\r\n."))
	c.do("MAIL FROM:<eve@b.test>", "250 ")
	c.do("RCPT TO:<Ann+tag@A.test>", "250 ")
	c.do("RCPT TO:<both@a.test>", "250 ")
	if n%2 == 0 {
		c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body))
	} else {
		c.do("DATA", "354 ")
		c.send(strings.ReplaceAll(body, "\r\n.", "\r\n..") + ".\r\n")
	}
	c.want("250 2.0.0 queued as ")
	return body
}

func realStore(t testing.TB) *boltstore.Store {
	t.Helper()
	st, err := boltstore.Open(t.TempDir(), boltstore.Options{Create: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	hash, err := secret.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.Apply(t.Context(), 0, []store.Edit{
		{Op: store.AddAccount, Address: "ann@a.test", Hash: hash},
		{Op: store.AddAccount, Address: "bob@a.test", Hash: hash},
		{Op: store.AddAlias, Address: "both@a.test", Targets: []string{"ann@a.test", "bob@a.test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// fetchAll returns what stands above each body of a maildrop, by body.
func fetchAll(t *testing.T, p store.Pickup, name string) map[string]string {
	t.Helper()
	m, err := p.Open(context.Background(), store.Login{Session: "x", TLS: true, Mechanism: "USER", Name: name, Secret: password})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	all := map[string]string{}
	for i, msg := range m.Messages() {
		r, err := m.Retrieve(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		r.Close()
		if err != nil || int64(len(text)) != msg.Octets {
			t.Fatal(len(text), msg.Octets, err)
		}
		at := strings.Index(string(text), "Subject: ")
		all[string(text[at:])] = string(text[:at])
	}
	return all
}
