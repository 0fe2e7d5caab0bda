package boltstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// formats are stores as the versions of the format have them, with records of every kind. They are never written again: later
// versions must open them.
func formats() []string { return []string{"testdata/format1", "testdata/format2"} }

// formatAccount is what one account of a stored store must hold.
type formatAccount struct {
	Disabled bool            `json:"disabled,omitempty"`
	Messages []formatMessage `json:"messages"`
}

type formatMessage struct {
	UIDL   string `json:"uidl"`
	Octets int64  `json:"octets"`
	SHA256 string `json:"sha256"`
}

// formatContent is all that is looked at of a store.
type formatContent struct {
	Accounts  map[string]formatAccount `json:"accounts"`
	Aliases   []store.Alias            `json:"aliases"`
	CatchAlls []store.CatchAll         `json:"catchalls"`
	Delivered uint64                   `json:"delivered"`
	Deleted   uint64                   `json:"deleted"`
	Octets    int64                    `json:"octets"`
}

func contentOf(t *testing.T, s *Store) formatContent {
	t.Helper()
	d, err := s.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	c := formatContent{
		Accounts: map[string]formatAccount{}, Aliases: d.Aliases, CatchAlls: d.CatchAlls,
		Delivered: st.Delivered, Deleted: st.Deleted, Octets: st.Octets,
	}
	for _, a := range d.Accounts {
		m, err := s.browse(a.Address)
		if err != nil {
			t.Fatal(err)
		}
		acc := formatAccount{Disabled: a.Disabled, Messages: []formatMessage{}}
		for i, msg := range m.Messages() {
			sum := sha256.New()
			r, err := m.Retrieve(t.Context(), i)
			if err == nil {
				_, err = io.Copy(sum, r)
				r.Close()
			}
			if err != nil {
				t.Fatalf("%s, message %d: %v", a.Address, i, err)
			}
			acc.Messages = append(acc.Messages, formatMessage{msg.UIDL(), msg.Octets, hex.EncodeToString(sum.Sum(nil))})
		}
		c.Accounts[a.Address] = acc
	}
	return c
}

// TestFormats: the store of each version opens, holds what it held, and takes mail.
func TestFormats(t *testing.T) {
	for _, format := range formats() {
		t.Run(filepath.Base(format), func(t *testing.T) { opensFormat(t, format) })
	}
}

func opensFormat(t *testing.T, format string) {
	text, err := os.ReadFile(filepath.Join(format, "content.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want formatContent
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(scratch(t), "store")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(format, "store"))); err != nil {
		t.Fatal(err)
	}
	ts := &testStore{T: t, Store: openTest(t, dir, quiet), drop: 1}
	if got := contentOf(t, ts.Store); !reflect.DeepEqual(got, want) {
		t.Errorf("it holds\n%+v, want\n%+v", got, want)
	}
	ts.send([]byte("later\r\n"))
	if found := ts.verify(); len(found) != 0 {
		t.Errorf("verify: %v", found)
	}
	ts.withoutIndex()
	if got := contentOf(t, ts.Store); got.Delivered != want.Delivered+1 {
		t.Errorf("%d delivered, want one more than %d", got.Delivered, want.Delivered)
	}
}

// TestFormatNewer: a file of a later version is refused, and the refusal names both versions.
func TestFormatNewer(t *testing.T) {
	segment := filepath.Join("log", "0000000000000001.seg")
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"folder": func(t *testing.T, dir string) {
			replaceIn(t, filepath.Join(dir, identityFile), `"format":2`, `"format":9`)
		},
		"segment": func(t *testing.T, dir string) { patch(t, filepath.Join(dir, segment), 8, 9) },
	} {
		t.Run(name, func(t *testing.T) {
			ts := newTestStore(t, quiet)
			ts.send([]byte("x\r\n"))
			if err := ts.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, ts.dir)
			_, err := Open(ts.dir, Options{})
			if err == nil || !strings.Contains(err.Error(), "format") || !strings.Contains(err.Error(), " 9,") || !strings.Contains(err.Error(), "this program knows ") {
				t.Errorf("opened with %v", err)
			}
		})
	}
}

func replaceIn(t *testing.T, name, old, with string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err == nil && !strings.Contains(string(text), old) {
		err = fmt.Errorf("%s has no %s", name, old)
	}
	if err == nil {
		err = os.WriteFile(name, []byte(strings.ReplaceAll(string(text), old, with)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func patch(t *testing.T, name string, at int64, b byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{b}, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestWriteFormat wrote testdata/format2. It runs where LETTERBOX_WRITE_FORMAT names the folder to write.
func TestWriteFormat(t *testing.T) {
	dir := os.Getenv("LETTERBOX_WRITE_FORMAT")
	if dir == "" {
		t.Skip("the stored format is not written again")
	}
	o := Options{Create: true, SegmentBytes: 8 << 10, BodyMemory: firstPiece, reclaimInterval: time.Hour}
	s, err := Open(filepath.Join(dir, "store"), o)
	if err != nil {
		t.Fatal(err)
	}
	ts := &testStore{T: t, Store: s, drop: 1}
	edit := func(edits ...store.Edit) {
		t.Helper()
		if _, err := ts.Apply(t.Context(), 0, edits); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"me@here.example", "you@here.example", "gone@here.example", "off@here.example"} {
		edit(store.Edit{Op: store.AddAccount, Address: name, Hash: testHash})
	}
	edit(store.Edit{Op: store.AddAlias, Address: "all@here.example", Targets: []string{"me@here.example", "you@here.example"}},
		store.Edit{Op: store.AddAlias, Address: "@there.example", Targets: []string{"@here.example"}},
		store.Edit{Op: store.SetCatchAll, Address: "here.example", Targets: []string{"you@here.example"}})
	for i := range 24 {
		size := i * 97
		if i%8 == 7 {
			size = 6 << 10 // a body of its own file
		}
		d := ts.begin(pattern(size))
		f := store.Final{Trace: []byte("Received: by here.example; now\r\n")}
		for drop := range store.MaildropID(4) {
			if i%4 == 0 || i%4 == int(drop) || i%2 == int(drop) {
				f.Recipients = append(f.Recipients, store.Recipient{Maildrop: drop + 1, Prefix: fmt.Appendf(nil, "Delivered-To: %d@here.example\r\n", drop+1)})
			}
		}
		if err := d.Commit(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			time.Sleep(5 * time.Millisecond) // so that those before are older
		}
	}
	m := ts.pick()
	old := m.Messages()[2].ID.Time()
	m.Close()
	if n, err := ts.expire(t.Context(), old); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	edit(store.Edit{Op: store.RemoveAccount, Address: "gone@here.example", DiscardMail: true},
		store.Edit{Op: store.DisableAccount, Address: "off@here.example"})
	// Mail that is deleted but for a few messages, twice, so that reclaim moves those and carries deletions forward.
	for range 2 {
		for range 24 {
			ts.send(pattern(1500))
		}
		var marks []int
		m := ts.pick()
		for i := range m.Messages() {
			if i%6 != 1 {
				marks = append(marks, i)
			}
		}
		if err := m.Commit(t.Context(), marks); err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
	ts.bins()
	for range 3 {
		ts.reclaim()
		ts.remove(indices(len(ts.pick2()) / 2))
	}
	ts.reclaim()
	ts.SetKeep(KeepPolicy{UndeleteFor: time.Hour})
	ts.remove([]int{0})
	time.Sleep(5 * time.Millisecond)
	moment := time.Now()
	ts.remove([]int{0})
	if n, err := ts.purge(t.Context(), moment); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	ts.losesOne(o)
	for _, uidl := range []string{"00000001deadbeef", "00000002deadbeef", "00000003deadbeef"} {
		if _, err := ts.Import(t.Context(), "me@here.example", uidl, bytes.NewReader(pattern(400))); err != nil {
			t.Fatal(err)
		}
	}
	want, err := json.MarshalIndent(contentOf(t, ts.Store), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.Close(); err != nil {
		t.Fatal(err)
	}
	for _, derived := range []string{"index.db", "ballast", "lock", clockFile} {
		os.Remove(filepath.Join(ts.dir, derived))
	}
	if err := os.WriteFile(filepath.Join(dir, "content.json"), append(want, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// losesOne damages the head of a message that somebody has and repairs the log, which leaves a record of the loss.
func (ts *testStore) losesOne(o Options) {
	ts.Helper()
	m := ts.pick()
	at := m.places[len(m.places)-2].pos()
	m.Close()
	if err := ts.Close(); err != nil {
		ts.Fatal(err)
	}
	patch(ts.T, filepath.Join(ts.dir, "log", fmt.Sprintf("%016d.seg", at.Segment)), at.Offset+82, 0xff)
	losses := 0
	if err := Repair(ts.Context(), ts.dir, func(store.Finding) { losses++ }); err != nil || losses != 1 {
		ts.Fatal(losses, err)
	}
	var err error
	if ts.Store, err = Open(ts.dir, o); err != nil {
		ts.Fatal(err)
	}
}

// bins imports mail, deletes so that it can be undone, undoes some of it and gives some of it up.
func (ts *testStore) bins() {
	ts.Helper()
	for i := range 8 {
		if _, err := ts.Import(ts.Context(), "me@here.example", fmt.Sprintf("uid-%d", i), bytes.NewReader(pattern(900*i))); err != nil {
			ts.Fatal(err)
		}
	}
	var moments []time.Time
	fillers := 0
	for range 3 {
		for range 8 {
			ts.send(pattern(700))
		}
		ts.SetKeep(KeepPolicy{UndeleteFor: time.Hour})
		ts.remove([]int{fillers, fillers + 1, fillers + 3, fillers + 5, fillers + 6, fillers + 7})
		ts.SetKeep(KeepPolicy{})
		time.Sleep(5 * time.Millisecond)
		moments = append(moments, time.Now())
		time.Sleep(5 * time.Millisecond)
	}
	if n, err := ts.purge(ts.Context(), moments[0]); err != nil || n == 0 {
		ts.Fatal(n, err)
	}
	if n, err := ts.Undelete(ts.Context(), "me@here.example", moments[1]); err != nil || n == 0 {
		ts.Fatal(n, err)
	}
	// Dead weight in the segments that hold all this.
	for range 3 {
		first := len(ts.pick2())
		for range 12 {
			ts.send(pattern(1500))
		}
		marks := indices(12)
		for i := range marks {
			marks[i] += first
		}
		ts.remove(marks)
	}
}
