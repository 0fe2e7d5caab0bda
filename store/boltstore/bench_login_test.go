package boltstore

import (
	"fmt"
	"runtime"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

// BenchmarkLoginCost is a whole login to a maildrop of 100 messages that nothing is pending for: with the hash's own cost, by a
// password that was right a moment ago, by an app password, and a wrong one of an account with 100 app passwords.
func BenchmarkLoginCost(b *testing.B) {
	s, err := Open(b.TempDir(), Options{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	const address = "me@bench.test"
	drops := []store.MaildropID{1}
	hash, err := secret.Hash("right")
	if err != nil {
		b.Fatal(err)
	}
	app := secret.Generate()
	edits := []store.Edit{{Op: store.AddAccount, Address: address, Hash: hash}}
	for i := range store.MaxAppPasswords {
		edits = append(edits, store.Edit{Op: store.AddAppPassword, Address: address, Name: fmt.Sprint(i), Hash: secret.AppHash(app)})
		app = secret.Generate()
	}
	edits[len(edits)-1].Hash = secret.AppHash(app)
	if _, err := s.Apply(b.Context(), 0, edits); err != nil {
		b.Fatal(err)
	}
	fillStore(b, s, drops, 100, 1000)
	for _, c := range []struct {
		name, password string
		forget, fails  bool
	}{{"hashed", "right", true, false}, {"repeated", "right", false, false}, {"app", app, false, false}, {"wrong", "wrong", false, true}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if c.forget {
					s.verified.Forget(uint64(drops[0]))
				}
				m, err := s.Open(b.Context(), store.Login{Name: address, Secret: c.password})
				if (err != nil) != c.fails {
					b.Fatal(err)
				}
				if err == nil {
					m.Close()
				}
			}
		})
	}
}

// BenchmarkLoginMemory holds 1,000 maildrops of 1,000 messages open.
func BenchmarkLoginMemory(b *testing.B) {
	s, drops := benchStore(b, 1000)
	var all []store.Recipient
	for _, drop := range drops {
		all = append(all, store.Recipient{Maildrop: drop})
	}
	for range 1000 {
		d, err := s.Begin(b.Context(), store.Envelope{})
		if err == nil {
			err = d.Commit(b.Context(), store.Final{Trace: []byte("a: b\r\n"), Recipients: all})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.indexer.settle(0); err != nil {
		b.Fatal(err)
	}
	open := make([]*maildrop, len(drops))
	for b.Loop() {
		clear(open)
		before := heap()
		for i, drop := range drops {
			open[i] = openDrop(b, s, drop)
		}
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB/heap")
		for _, m := range open {
			m.Close()
		}
	}
	b.ReportMetric(0, "ns/op")
	runtime.KeepAlive(open)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
