package app

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/metrics"
	"example.org/letterbox/smtpd"
	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
)

// benchStore opens a store with so many accounts, a0@x.example and on.
func benchStore(b *testing.B, o boltstore.Options, accounts int) (*boltstore.Store, []store.Recipient) {
	b.Helper()
	o.Create = true
	s, err := boltstore.Open(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	const hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$WwSIM1F5bQ6mq2pYkcNrhA"
	var edits []store.Edit
	for i := range accounts {
		edits = append(edits, store.Edit{Op: store.AddAccount, Address: fmt.Sprintf("a%d@x.example", i), Hash: hash})
	}
	if _, err := s.Apply(b.Context(), 0, edits); err != nil {
		b.Fatal(err)
	}
	var all []store.Recipient
	for i := range accounts {
		target, err := s.Resolve(b.Context(), store.Attempt{To: fmt.Sprintf("a%d@x.example", i)})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, store.Recipient{Maildrop: target.Maildrops[0]})
	}
	return s, all
}

// BenchmarkScrape is one scrape of a store in which a million messages wait, counted once for each of 100 maildrops.
func BenchmarkScrape(b *testing.B) {
	const accounts, million = 100, 1_000_000
	times := metrics.NewTimes()
	s, all := benchStore(b, boltstore.Options{Observer: times}, accounts)
	for range million / accounts {
		d, err := s.Begin(b.Context(), store.Envelope{})
		if err == nil {
			_, err = d.Write([]byte("Subject: x\r\n\r\ntext\r\n"))
		}
		if err == nil {
			err = d.Commit(b.Context(), store.Final{Recipients: all})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if n := s.Stats().Messages; n != million {
		b.Fatalf("%d messages wait", n)
	}
	m := metrics.New("serve", "bench", smtpd.LabelValues(), nil)
	m.Store(s.Stats)
	m.AddTimes(times)
	handler := m.Handler(metrics.Pages{})
	b.ResetTimer()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}

// switched is the owner's observer while on is set.
type switched struct {
	on *atomic.Bool
	*metrics.Times
}

func (s switched) Synced(d time.Duration) {
	if s.on.Load() {
		s.Times.Synced(d)
	}
}

func (s switched) Indexed(d time.Duration) {
	if s.on.Load() {
		s.Times.Indexed(d)
	}
}

// BenchmarkAcceptShare lets 32 senders deliver over loopback in turn to a receiver that counts and to one that does not, over
// the same store, and tells what share of the rate counting takes.
func BenchmarkAcceptShare(b *testing.B) {
	var on atomic.Bool
	times := metrics.NewTimes()
	s, _ := benchStore(b, boltstore.Options{Observer: switched{&on, times}}, 1)
	m := metrics.New("serve", "bench", smtpd.LabelValues(), nil)
	m.SMTP().Listen("smtp")
	policy := smtpd.Policy{MaxMessageBytes: 1 << 20, MaxRecipients: 10}
	var addr [2]string
	for i, o := range []smtpd.Observer{nil, m.SMTP()} {
		server := smtpd.New(smtpd.Config{Hostname: "localhost", Store: s, Log: zerolog.Nop(), Observer: o}, policy)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go server.Handle(c, smtpd.Listener{Name: "smtp"})
			}
		}()
		b.Cleanup(func() { l.Close(); server.Shutdown(context.Background()) })
		addr[i] = l.Addr().String()
	}
	var sent [2]int64
	for round := range max(b.N, 20) {
		for turn := range addr {
			i := turn ^ round&1 // neither is always the second
			on.Store(i == 1)
			sent[i] += deliverFor(b, addr[i], 32, time.Second)
		}
	}
	b.ReportMetric(100*(1-float64(sent[1])/float64(sent[0])), "%slower")
	b.ReportMetric(float64(sent[0])/float64(max(b.N, 20)), "msg/s")
}

// deliverFor delivers from so many senders for a time and returns how many messages were accepted.
func deliverFor(b *testing.B, addr string, senders int, d time.Duration) int64 {
	var n atomic.Int64
	var group sync.WaitGroup
	message := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64) + ".\r\n"
	end := time.Now().Add(d)
	for range senders {
		group.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			say := func(text, want string) bool {
				fmt.Fprint(c, text)
				for {
					line, err := r.ReadString('\n')
					if err != nil || !strings.HasPrefix(line, want) {
						b.Errorf("%q: %q %v", text, line, err)
						return false
					}
					if line[3] == ' ' {
						return true
					}
				}
			}
			for ok := say("", "220") && say("EHLO x\r\n", "250"); ok && time.Now().Before(end); n.Add(1) {
				ok = say("MAIL FROM:<>\r\n", "250") && say("RCPT TO:<a0@x.example>\r\n", "250") && say("DATA\r\n", "354") && say(message, "250")
			}
		})
	}
	group.Wait()
	return n.Load()
}
