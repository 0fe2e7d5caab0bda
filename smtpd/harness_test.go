package smtpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/letterbox/store"
	"github.com/rs/zerolog"
)

// recorder is a Deliverer that remembers, and fails where it is told to.
type recorder struct {
	mu        sync.Mutex
	next      uint64
	messages  []delivered
	discarded int
	noted     []store.Refusal

	resolve func(store.Attempt) (store.Target, error) // nil: see local
	begin   func() error
	write   func() error
	commit  func(ctx context.Context) error
	discard func()
}

// delivered is one message of a recorder.
type delivered struct {
	from  string
	id    store.ID
	final store.Final
	body  string
}

// whole is what the i-th recipient fetches.
func (d delivered) whole(i int) string {
	return string(d.final.Recipients[i].Prefix) + string(d.final.Trace) + d.body
}

func (r *recorder) Resolve(_ context.Context, a store.Attempt) (store.Target, error) {
	if r.resolve != nil {
		return r.resolve(a)
	}
	return local(a)
}

// local knows ann, bob and the alias both at a.test, ann at bücher.test, and postmaster at our own name.
func local(a store.Attempt) (store.Target, error) {
	to, err := store.ParseAddress(a.To)
	switch {
	case err != nil:
		return store.Target{}, store.ErrNoMaildrop
	case to == store.Address{Local: "postmaster", Domain: "mx.a.test"}, to == store.Address{Local: "ann", Domain: "xn--bcher-kva.test"}:
		return store.Target{Maildrops: []store.MaildropID{1}}, nil
	case to.Domain == "mx.a.test":
		return store.Target{}, store.ErrNoMaildrop
	case to.Domain != "a.test":
		return store.Target{}, store.ErrNotLocal
	}
	drops := map[string][]store.MaildropID{"ann": {1}, "bob": {2}, "both": {1, 2}, "quo ted": {3}}[to.Local]
	if drops == nil {
		return store.Target{}, fmt.Errorf("directory: %w", store.ErrNoMaildrop)
	}
	return store.Target{Maildrops: drops}, nil
}

func (r *recorder) Begin(_ context.Context, e store.Envelope) (store.Draft, error) {
	if r.begin != nil {
		if err := r.begin(); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	d := &draft{r: r, from: e.From}
	binary.BigEndian.PutUint64(d.id[8:], r.next)
	return d, nil
}

func (r *recorder) Note(n store.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noted = append(r.noted, n)
}

func (r *recorder) notes() []store.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.noted)
}

func (r *recorder) all() []delivered {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivered(nil), r.messages...)
}

type draft struct {
	r    *recorder
	from string
	id   store.ID
	body bytes.Buffer
	gone bool
}

func (d *draft) ID() store.ID { return d.id }

func (d *draft) Write(p []byte) (int, error) {
	if d.r.write != nil {
		if err := d.r.write(); err != nil {
			return 0, err
		}
	}
	return d.body.Write(p)
}

func (d *draft) Commit(ctx context.Context, f store.Final) error {
	if d.r.commit != nil {
		if err := d.r.commit(ctx); err != nil {
			return err
		}
	}
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	d.gone = true
	d.r.messages = append(d.r.messages, delivered{from: d.from, id: d.id, final: f, body: d.body.String()})
	return nil
}

func (d *draft) Discard() {
	if d.r.discard != nil {
		d.r.discard()
	}
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	if !d.gone {
		d.gone = true
		d.r.discarded++
	}
}

// watcher is an Observer that keeps everything and lets a test wait for the end of a session.
type watcher struct {
	mu     sync.Mutex
	seen   []string
	ends   chan string
	starts chan struct{}
	panics atomic.Bool // at a command
}

func newWatcher() *watcher {
	return &watcher{ends: make(chan string, 1000), starts: make(chan struct{}, 1000)}
}

func (w *watcher) note(format string, v ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprintf(format, v...))
}

func (w *watcher) has(want string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.seen, want)
}

func (w *watcher) hasPrefix(want string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.seen, func(s string) bool { return strings.HasPrefix(s, want) })
}

func (w *watcher) Connection(l, result string) { w.note("connection %s %s", l, result) }
func (w *watcher) SessionStart(string)         { w.starts <- struct{}{} }
func (w *watcher) SessionEnd(_, reason string, _ time.Duration, in, out int64) {
	w.note("end %s", reason)
	w.ends <- reason
}
func (w *watcher) Command(verb string, code int, _ time.Duration) {
	w.note("command %s %d", verb, code)
	if w.panics.Load() {
		panic("the observer is broken")
	}
}
func (w *watcher) Handshake(_, version, result string) { w.note("handshake %s %s", version, result) }
func (w *watcher) Recipient(result string)             { w.note("recipient %s", result) }
func (w *watcher) Message(_, result, reason string, n int64, _ time.Duration) {
	w.note("message %s %s %d", result, reason, n)
}

// bench is a server on a loopback port.
type bench struct {
	t      *testing.T
	server *Server
	store  *recorder
	watch  *watcher
	log    *lockedBuffer
	addr   string
	tls    *tls.Config // the client's
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newBench(t *testing.T, p Policy, l Listener) *bench {
	t.Helper()
	return newBenchWith(t, p, l, func(*Config) {})
}

// newBenchWith lets change choose the rest of the configuration.
func newBenchWith(t *testing.T, p Policy, l Listener, change func(*Config)) *bench {
	t.Helper()
	serverTLS, clientTLS := testTLS(t)
	b := &bench{t: t, store: &recorder{}, watch: newWatcher(), log: &lockedBuffer{}, tls: clientTLS}
	if p.LingerTimeout == 0 {
		p.LingerTimeout = 50 * time.Millisecond
	}
	if p.GreetingDelay == 0 {
		p.GreetingDelay = time.Millisecond
	}
	config := Config{Hostname: "mx.a.test", Store: b.store, TLS: serverTLS, Log: zerolog.New(b.log), Observer: b.watch}
	change(&config)
	b.server = New(config, p)
	b.serve(l)
	return b
}

func (b *bench) serve(l Listener) {
	b.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = ln.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { b.server.Handle(c, l) })
		}
	})
	b.t.Cleanup(func() {
		ln.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		b.server.Shutdown(ctx)
		all.Wait()
		b.checkLabels()
	})
}

// checkLabels holds everything that the observer heard against the closed sets.
func (b *bench) checkLabels() {
	sets := map[string][]string{
		"connection": {"", "connection"}, "end": {"end"}, "command": {"verb"}, "recipient": {"recipient"},
		"message": {"message_result", "message_reason"},
	}
	values := LabelValues()
	b.watch.mu.Lock()
	defer b.watch.mu.Unlock()
	for _, s := range b.watch.seen {
		words := strings.Fields(s)
		for i, set := range sets[words[0]] {
			if set != "" && !slices.Contains(values[set], words[i+1]) {
				b.t.Errorf("%q is no label of %s", words[i+1], set)
			}
		}
	}
}

// ended waits for the end of a session and checks its reason.
func (b *bench) ended(want string) {
	b.t.Helper()
	select {
	case got := <-b.watch.ends:
		if got != want {
			b.t.Errorf("session ended with %q, want %q", got, want)
		}
	case <-time.After(testPatience):
		b.t.Fatalf("session does not end; log:\n%s", b.log)
	}
}
