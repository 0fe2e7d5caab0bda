package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

// model is what a store must hold: for each account, its messages in order.
type model struct {
	t    *rapid.T
	root string
	runs int
	hash string

	dir string
	s   *Store
	now atomic.Int64 // each look at the clock is a second later

	stopped atomic.Bool // the clock is
	drop    map[string]store.MaildropID
	mail    map[string][]modelMessage
	bin     map[string][]modelMessage // deleted, and not gone yet
	ever    map[store.ID]bool
}

type modelMessage struct {
	id     store.ID // zero: not known yet, since the message was filed again
	text   string
	binned time.Time
}

// String is short, since a failed run prints all that it drew.
func (m modelMessage) String() string { return fmt.Sprintf("%s with %d octets", m.id, len(m.text)) }

// GoString is String.
func (m modelMessage) GoString() string { return m.String() }

var modelNames = []string{"a@m.example", "b@m.example", "c@m.example"}

func newModel(t *rapid.T, root, hash string) *model {
	m := &model{
		t: t, root: root, hash: hash, dir: filepath.Join(root, "0"),
		drop: map[string]store.MaildropID{}, mail: map[string][]modelMessage{}, bin: map[string][]modelMessage{}, ever: map[store.ID]bool{},
	}
	m.open()
	for _, name := range modelNames {
		m.check(m.apply(store.Edit{Op: store.AddAccount, Address: name, Hash: hash}))
	}
	m.learnDrops()
	return m
}

func (m *model) open() {
	s, err := Open(m.dir, Options{Create: true, SegmentBytes: 4 << 10, BodyMemory: 2 * firstPiece, reclaimInterval: time.Millisecond,
		Now: m.clock})
	m.check(err)
	m.s = s
}

func (m *model) clock() time.Time {
	if m.stopped.Load() {
		return time.Unix(1_800_000_000+m.now.Load(), 0)
	}
	return time.Unix(1_800_000_000+m.now.Add(1), 0)
}

func (m *model) check(err error) {
	if err != nil {
		m.t.Helper()
		m.t.Fatal(err)
	}
}

func (m *model) apply(edits ...store.Edit) error {
	_, err := m.s.Apply(context.Background(), 0, edits)
	return err
}

func (m *model) learnDrops() {
	d, err := m.s.Directory(context.Background())
	m.check(err)
	for _, a := range d.Accounts {
		m.drop[a.Address] = a.Maildrop
	}
}

// deliver sends one message to some of the accounts.
func (m *model) deliver(t *rapid.T) {
	to := rapid.SliceOfNDistinct(rapid.SampledFrom(modelNames), 1, 3, rapid.ID[string]).Draw(t, "to")
	body := strings.Repeat(rapid.StringMatching(`[a-z.]{0,20}\r\n`).Draw(t, "line"), rapid.IntRange(0, 300).Draw(t, "lines"))
	d, err := m.s.Begin(context.Background(), store.Envelope{Session: "s", From: "x@y.example"})
	m.check(err)
	_, err = io.WriteString(d, body)
	m.check(err)
	f := store.Final{Trace: []byte("Received: now\r\n")}
	for _, name := range to {
		f.Recipients = append(f.Recipients, store.Recipient{Maildrop: m.drop[name], Prefix: []byte("To: " + name + "\r\n")})
	}
	m.check(d.Commit(context.Background(), f))
	if m.ever[d.ID()] {
		t.Fatalf("id %s was given before", d.ID())
	}
	m.ever[d.ID()] = true
	for _, name := range to {
		m.mail[name] = append(m.mail[name], modelMessage{id: d.ID(), text: "To: " + name + "\r\nReceived: now\r\n" + body})
	}
}

// session opens a maildrop as a POP3 session does, compares it and deletes some of it.
func (m *model) session(t *rapid.T) {
	name := rapid.SampledFrom(modelNames).Draw(t, "name")
	drop := m.take(name)
	defer drop.Close()
	m.compare(name, drop)
	if rapid.Bool().Draw(t, "dropped") || len(m.mail[name]) == 0 {
		return
	}
	marks := rapid.SliceOfDistinct(rapid.IntRange(0, len(m.mail[name])-1), rapid.ID[int]).Draw(t, "deleted")
	keep := rapid.Bool().Draw(t, "into the bin")
	if m.s.SetKeep(KeepPolicy{}); keep {
		m.s.SetKeep(KeepPolicy{UndeleteFor: time.Hour})
	}
	began := m.clock()
	m.stopped.Store(true)
	m.check(drop.Commit(context.Background(), marks))
	m.stopped.Store(false)
	var left []modelMessage
	for i, msg := range m.mail[name] {
		if !slices.Contains(marks, i) {
			left = append(left, msg)
		} else if msg.binned = began; keep {
			m.bin[name] = append(m.bin[name], msg)
		}
	}
	m.mail[name] = left
	slices.SortStableFunc(m.bin[name], func(a, b modelMessage) int { return bytes.Compare(a.id[:], b.id[:]) })
}

// undelete takes what was deleted since a moment out of the bin.
func (m *model) undelete(t *rapid.T) {
	name := rapid.SampledFrom(modelNames).Draw(t, "name")
	if len(m.bin[name]) == 0 {
		t.Skip("nothing in the bin")
	}
	since := rapid.SampledFrom(m.bin[name]).Draw(t, "since").binned
	n, err := m.s.Undelete(context.Background(), name, since)
	m.check(err)
	var left []modelMessage
	for _, msg := range m.bin[name] {
		if msg.binned.Before(since) {
			left = append(left, msg)
			continue
		}
		n--
		m.mail[name] = append(m.mail[name], modelMessage{text: msg.text})
	}
	if m.bin[name] = left; n != 0 {
		t.Fatalf("%d messages too many came back", n)
	}
	drop := m.take(name)
	defer drop.Close()
	m.compare(name, drop)
}

// purge empties the bins of what is old.
func (m *model) purge(t *rapid.T) {
	all := slices.Concat(m.bin[modelNames[0]], m.bin[modelNames[1]], m.bin[modelNames[2]])
	if len(all) == 0 {
		t.Skip("nothing in the bins")
	}
	before := rapid.SampledFrom(all).Draw(t, "before").binned.Add(time.Millisecond)
	n, err := m.s.purge(context.Background(), before)
	m.check(err)
	for name, bin := range m.bin {
		left := slices.DeleteFunc(slices.Clone(bin), func(msg modelMessage) bool { return msg.binned.Before(before) })
		n -= len(bin) - len(left)
		m.bin[name] = left
	}
	if n != 0 {
		t.Fatalf("%d more went than should have", n)
	}
}

// take opens a maildrop without a password: hashing is tested elsewhere and would take all the time here.
func (m *model) take(name string) *maildrop {
	drop := lockable(m.s, m.drop[name])
	m.check(m.s.take(context.Background(), drop))
	m.check(drop.load())
	return drop
}

func (m *model) compare(name string, drop *maildrop) {
	want := m.mail[name]
	if len(drop.Messages()) != len(want) {
		m.t.Fatalf("%s has %d messages, want %d", name, len(drop.Messages()), len(want))
	}
	for i, msg := range drop.Messages() {
		r, err := drop.Retrieve(context.Background(), i)
		m.check(err)
		text, err := io.ReadAll(r)
		m.check(err)
		r.Close()
		if want[i].id.IsZero() {
			if m.ever[msg.ID] {
				m.t.Fatalf("%s was filed again under the id %s, which was given before", name, msg.ID)
			}
			want[i].id, m.ever[msg.ID] = msg.ID, true
		}
		if msg.ID != want[i].id || string(text) != want[i].text || int64(len(text)) != msg.Octets {
			m.t.Fatalf("%s, message %d: %s with %d octets %.60q, want %s %.60q", name, i, msg.ID, msg.Octets, text, want[i].id, want[i].text)
		}
	}
}

// removeAccount throws an account away with its mail and makes it again.
func (m *model) removeAccount(t *rapid.T) {
	name := rapid.SampledFrom(modelNames).Draw(t, "name")
	if rapid.IntRange(0, 3).Draw(t, "seldom") > 0 {
		t.Skip("seldom")
	}
	err := m.apply(store.Edit{Op: store.RemoveAccount, Address: name})
	if (err == nil) != (len(m.mail[name]) == 0) {
		t.Fatalf("removing %s with %d messages: %v", name, len(m.mail[name]), err)
	}
	if err != nil {
		m.check(m.apply(store.Edit{Op: store.RemoveAccount, Address: name, DiscardMail: true}))
	}
	m.check(m.apply(store.Edit{Op: store.AddAccount, Address: name, Hash: m.hash}))
	m.mail[name], m.bin[name] = nil, nil
	m.learnDrops()
}

// expire lets some of the oldest mail expire, but for what an open session sees.
func (m *model) expire(t *rapid.T) {
	held := rapid.SampledFrom(modelNames).Draw(t, "held")
	drop := m.take(held)
	defer drop.Close()
	all := slices.Concat(m.mail[modelNames[0]], m.mail[modelNames[1]], m.mail[modelNames[2]])
	if len(all) == 0 {
		t.Skip("no mail")
	}
	before := rapid.SampledFrom(all).Draw(t, "before").id.Time()
	n, err := m.s.expire(context.Background(), before)
	m.check(err)
	for name, mail := range m.mail {
		if name == held {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(mail), func(msg modelMessage) bool { return msg.id.Time().Before(before) })
		n -= len(mail) - len(left)
		m.mail[name] = left
	}
	if n != 0 {
		t.Fatalf("%d more expired than should have", n)
	}
	m.compare(held, drop)
}

// reopen stops in an orderly way.
func (m *model) reopen(*rapid.T) {
	m.check(m.s.Close())
	m.open()
}

// crash goes on from the files as a kill would leave them, sometimes without the index.
func (m *model) crash(t *rapid.T) {
	m.runs++
	next := filepath.Join(m.root, fmt.Sprint(m.runs))
	m.check(os.Mkdir(next, 0o700))
	m.s.reclaimer.stop() // wherever it is: nothing may change while the files are copied
	// The index first: its position must not be behind the end of the log that is copied.
	m.check(m.s.index.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(filepath.Join(next, "index.db"), 0o600) }))
	for _, name := range []string{"identity", "accounts.db"} {
		text, err := os.ReadFile(filepath.Join(m.dir, name))
		m.check(err)
		m.check(os.WriteFile(filepath.Join(next, name), text, 0o600))
	}
	for _, sub := range []string{"log", "bodies"} {
		m.check(os.CopyFS(filepath.Join(next, sub), os.DirFS(filepath.Join(m.dir, sub))))
	}
	m.check(m.s.Close())
	m.check(os.RemoveAll(m.dir))
	m.dir = next
	if rapid.Bool().Draw(t, "without index") {
		m.check(os.Remove(filepath.Join(next, "index.db")))
	}
	m.open()
}

func (m *model) equal() {
	var messages, octets int64
	for _, name := range modelNames {
		drop := m.take(name)
		m.compare(name, drop)
		drop.Close()
		for _, msg := range m.mail[name] {
			messages++
			octets += int64(len(msg.text))
		}
	}
	if st := m.s.Stats(); st.Messages != messages || st.Octets != octets {
		m.t.Fatalf("stats count %d messages and %d octets, want %d and %d", st.Messages, st.Octets, messages, octets)
	}
}

// TestRebuildEqualsModel: after any run, and again after the index was rebuilt from the log, the store holds what the
// model holds.
func TestRebuildEqualsModel(t *testing.T) {
	hash, err := secret.Hash("x")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		root, err := os.MkdirTemp(scratch(t), "model")
		if err != nil {
			rt.Fatal(err)
		}
		m := newModel(rt, root, hash)
		defer func() { m.s.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"deliver": m.deliver, "deliver more": m.deliver, "session": m.session, "remove account": m.removeAccount, "expire": m.expire,
			"undelete": m.undelete, "purge": m.purge,
			"reopen": m.reopen, "crash": m.crash,
		})
		m.equal()
		m.check(m.s.Close())
		m.check(os.Remove(filepath.Join(m.dir, "index.db")))
		m.open()
		m.equal()
	})
}
