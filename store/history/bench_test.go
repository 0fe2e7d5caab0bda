package history

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

// large fills a history with 64 MiB of a month: 50 accounts, each message read and deleted in a session of five, and refusals
// of strangers. It returns queries of each kind.
func large(t testing.TB) (l *Log, queries map[string]string) {
	c := newClock()
	l, err := Open(filepath.Join(t.TempDir(), "history"), Options{FS: vfs.OS{}, Now: c.now, Policy: month(), interval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	var ids []store.ID
	for i := 0; l.series[ofMail].total < l.policy.Load().share(ofMail)-maxPart || l.series[ofRefused].total < l.policy.Load().share(ofRefused)-maxPart; i++ {
		account := fmt.Sprintf("user%d@mail.example.org", i/5%50)
		id := store.ID{0: 1, 1: byte(i >> 24), 2: byte(i >> 16), 3: byte(i >> 8), 4: byte(i), 5: 7, 9: byte(i * 77), 12: byte(i * 31)}
		ids = append(ids, id)
		l.Add(store.Event{
			Kind: store.EventAccepted, Messages: []store.ID{id}, Session: fmt.Sprintf("S%07d", i), Remote: fmt.Sprintf("203.0.113.%d", i%250),
			From: fmt.Sprintf("bounces+%d-4711=mail.example.org@sender%d.example.com", i, i%900), To: []string{account}, Accounts: []string{account},
			Octets: int64(2000 + i%90_000), MessageID: fmt.Sprintf("20261126120000.%dABCDEF.4711@mx%d.sender%d.example.com", i, i%7, i%900),
		})
		if i%5 == 4 {
			sid := fmt.Sprintf("P%07d", i)
			for _, read := range ids[i-4:] {
				l.Retrieved(sid, netip.MustParseAddr("192.0.2.7"), account, read)
			}
			l.Add(store.Event{Kind: store.EventDeleted, Messages: ids[i-4:], Session: sid, Remote: "192.0.2.7", Accounts: []string{account}})
		}
		if i%2 == 0 {
			l.Refused(store.Refusal{
				Session: fmt.Sprintf("R%07d", i), Peer: netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), From: fmt.Sprintf("spam%d@junk%d.example.net", i, i%5000),
				To: []string{fmt.Sprintf("guess%d@mail.example.org", i%30_000)}, Verb: "RCPT", Code: 550, Reason: "unknown",
			})
		}
		if c.advance(15 * time.Second); i%1000 == 0 {
			l.flush(false)
		}
	}
	middle := len(ids) - len(ids)/4
	return l, map[string]string{
		"id": ids[middle].String(), "message-id": fmt.Sprintf("<20261126120000.%dABCDEF.4711@mx%d.sender%d.example.com>", middle, middle%7, middle%900),
		"sender": fmt.Sprintf("bounces+%d-4711=mail.example.org@sender%d.example.com", middle, middle%900), "account": "user7@mail.example.org",
		"guess": fmt.Sprintf("guess%d@mail.example.org", (len(ids)-1)&^1%30_000), "nothing": "never@seen.example.com",
	}
}

// TestTraceLarge asks a history of 64 MiB; how long that takes says BenchmarkTrace.
func TestTraceLarge(t *testing.T) {
	if os.Getenv("LETTERBOX_LONG") == "" {
		t.Skip("LETTERBOX_LONG is not set")
	}
	l, queries := large(t)
	if l.Bytes() < 56<<20 {
		t.Fatalf("%d MiB are no 64 MiB", l.Bytes()>>20)
	}
	for name, text := range queries {
		traced, err := l.Trace(t.Context(), store.Query{Text: text})
		if err != nil || (len(traced.Events) == 0) != (name == "nothing") {
			t.Errorf("%s: %d events, %v", name, len(traced.Events), err)
		}
	}
}

// BenchmarkTrace asks a history of 64 MiB.
func BenchmarkTrace(b *testing.B) {
	l, queries := large(b)
	for name, text := range queries {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := l.Trace(context.Background(), store.Query{Text: text}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAdd is what a delivery pays for its line.
func BenchmarkAdd(b *testing.B) {
	l, err := Open(filepath.Join(b.TempDir(), "history"), Options{FS: vfs.OS{}, Now: time.Now, Policy: month()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	e := store.Event{
		Kind: store.EventAccepted, Messages: []store.ID{{1}}, Session: "ABCDEFGH", Remote: "203.0.113.7", From: "bounces+4711@sender.example.com",
		To: []string{alice}, Accounts: []string{alice}, Octets: 4711, MessageID: "20261126120000.4711@mx.sender.example.com",
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Add(e)
	}
	b.ReportMetric(float64(l.Dropped())/float64(b.N), "dropped/op")
}
