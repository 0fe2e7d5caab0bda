package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/secret"
)

const me = "me@here.example"

// openStore is a real store with one account.
func openStore(t *testing.T) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(t.TempDir(), boltstore.Options{Log: zerolog.Nop(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	hash, err := secret.Hash("correct-horse-0451")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: me, Hash: hash}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// list is a source whose messages are given.
type list []Message

func (l list) Len() int              { return len(l) }
func (l list) Message(i int) Message { return l[i] }
func (l list) Close() error          { return nil }

func letter(uidl, body string) Message {
	return Message{Name: "a letter", UIDL: uidl, Read: func(w io.Writer) error {
		_, err := io.WriteString(w, body)
		return err
	}}
}

// moves imports l and wants these counts.
func moves(t *testing.T, s Store, l list, want Result) (notes []string) {
	t.Helper()
	got, err := Import(t.Context(), me, s, l, Watch{Note: func(text string) { notes = append(notes, text) }})
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	return notes
}

// TestUIDLs: each message comes in once whatever its UIDL, and each run gives it the same.
func TestUIDLs(t *testing.T) {
	s := openStore(t)
	moves(t, s, list{letter("no UIDL", "a: b\n\nzero\n")}, Result{Moved: 1})
	first := list{letter("1", "a: b\n\none\n"), letter("2", "a: b\n\ntwo\n"), letter("", "a: b\n\nalike\n"), letter("", "a: b\n\nalike\n")}
	moves(t, s, first, Result{Moved: 4})
	moves(t, s, first, Result{There: 4})
	mail, err := s.Mail(t.Context(), me)
	if err != nil {
		t.Fatal(err)
	}
	derived := mail[3].UIDL()
	other := list{
		letter("1", "a: b\n\nthree\n"),      // of another size than the one with its UIDL
		letter("2", "a: b\n\nTWO\n"),        // of the same size
		letter("3", "a: b\n\nfour\n"),       //
		letter("3", "a: b\n\nfour\n"),       // the source has it twice
		letter(derived, "a: b\n\nalike!\n"), // of a letterbox
		letter(derived, "a: b\n\nalike\n"),  //
	}
	if notes := moves(t, s, other, Result{Moved: 5, There: 1, Clashes: 4}); len(notes) != 4 {
		t.Errorf("notes %q", notes)
	}
	moves(t, s, other, Result{There: 6})
	moves(t, s, first, Result{There: 4})
	if mail, err = s.Mail(t.Context(), me); err != nil || len(mail) != 10 {
		t.Errorf("%d messages, %v", len(mail), err)
	}
}

// drain is a client that fetches and deletes everything.
func drain(t *testing.T, s *boltstore.Store) (bodies []string) {
	t.Helper()
	m, err := s.Open(t.Context(), store.Login{Name: me, Secret: "correct-horse-0451"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var all []int
	for i := range m.Messages() {
		r, err := m.Retrieve(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		bodies, all = append(bodies, string(b)), append(all, i)
	}
	if err := m.Commit(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	return bodies
}

// TestDeletedMeanwhile: a run that is made again, after a client has deleted what the first one moved, brings nothing back; other
// mail under the same UIDLs, of a server that numbers from 1 too, comes in.
func TestDeletedMeanwhile(t *testing.T) {
	for name, keep := range map[string]boltstore.KeepPolicy{"for good": {}, "into the bin": {UndeleteFor: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			s.SetKeep(keep)
			first := list{letter("1", "a: b\n\none\n"), letter("", "a: b\n\nalike\n"), letter("", "a: b\n\nalike\n")}
			moves(t, s, first, Result{Moved: 3})
			drain(t, s)
			moves(t, s, first, Result{There: 3})
			other := list{letter("1", "a: b\n\ntwo\n"), letter("2", "a: b\n\none\n")}
			moves(t, s, other, Result{Moved: 2, Clashes: 1})
			if left := drain(t, s); len(left) != 2 || left[0] != "a: b\r\n\r\ntwo\r\n" {
				t.Errorf("there are %q", left)
			}
			moves(t, s, append(first, other...), Result{There: 5})
		})
	}
}

// TestNumbersOfTwoServers: a server's word for UIDL and size is enough where the UIDL tells one message; a number is looked into.
func TestNumbersOfTwoServers(t *testing.T) {
	const uidl = "0000000100000001"
	s := openStore(t)
	said := func(uidl, body string) Message {
		m := letter(uidl, body)
		m.Octets = int64(len(body))
		return m
	}
	moves(t, s, list{said("1", "a: b\r\n\r\none\r\n"), said(uidl, "a: b\r\n\r\ntwo\r\n")}, Result{Moved: 2})
	unread := said(uidl, "a: b\r\n\r\ntwo\r\n")
	unread.Read = func(io.Writer) error { return errors.New("it was fetched again") }
	moves(t, s, list{said("1", "a: b\r\n\r\nTWO\r\n"), said("1", "a: b\r\n\r\none\r\n"), unread}, Result{Moved: 1, There: 2, Clashes: 1})
}

// TestFailures: a message that can't be read is left out, and a source that is gone ends the run.
func TestFailures(t *testing.T) {
	s := openStore(t)
	bad := Message{Name: "bad", Read: func(w io.Writer) error { io.WriteString(w, "half"); return errors.New("an I/O error") }}
	notes := moves(t, s, list{letter("1", "x\n"), bad, letter("2", "y\n")}, Result{Moved: 2, Failed: 1})
	if len(notes) != 1 || notes[0] != "bad: not moved: an I/O error" {
		t.Errorf("notes %q", notes)
	}
	bad.Read = func(io.Writer) error { return &fatalError{io.ErrUnexpectedEOF} }
	if r, err := Import(t.Context(), me, s, list{letter("3", "z\n"), bad, letter("4", "z\n")}, Watch{}); !errors.Is(err, io.ErrUnexpectedEOF) || r.Moved != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Import(stopped, me, s, list{letter("5", "z\n")}, Watch{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestMaildirOrder: the list's order first, then by time; the newer of two lists counts; a file may be renamed meanwhile.
func TestMaildirOrder(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range map[string]string{
		"cur/30.a.h:2,S": "a", "new/9.b.h": "b", "cur/100.c.h,S=1:2,": "c", "new/20.d.h": "d", "cur/.hidden": "e",
		"dovecot-uidlist": "3 V1 N3\n1 :100.c.h,S=1\n2 :20.d.h\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look := func(want string) {
		t.Helper()
		m, err := OpenMaildir(dir)
		if err != nil {
			t.Fatal(err)
		}
		os.Rename(filepath.Join(dir, "new/20.d.h"), filepath.Join(dir, "cur/20.d.h:2,S"))
		var got []string
		for i := range m.Len() {
			var b bytes.Buffer
			if err := m.Message(i).Read(&b); err != nil {
				t.Error(err)
			}
			got = append(got, fmt.Sprint(b.String(), "=", m.Message(i).UIDL, "/", m.Message(i).Own))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("got %v", got)
		}
	}
	look("c=0000000100000001/100.c.h d=0000000200000001/20.d.h b=/9.b.h a=/30.a.h")
	newer := filepath.Join(dir, "courierpop3dsizelist")
	if err := os.WriteFile(newer, []byte("/3 7 5\n9.b.h 3 4:5:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(newer)
	if err != nil {
		t.Fatal(err)
	}
	old := info.ModTime().Add(-1e9)
	if err := os.Chtimes(filepath.Join(dir, "dovecot-uidlist"), old, old); err != nil {
		t.Fatal(err)
	}
	look("b=UID4-5/9.b.h d=/20.d.h a=/30.a.h c=/100.c.h")
}

// TestMaildirInUse: a message that a server moves from new to cur while we look, as it does when somebody reads, is in the list once.
func TestMaildirInUse(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	const many = 200 // so that listing takes a while
	for i := range many {
		if err := os.WriteFile(filepath.Join(dir, "cur", fmt.Sprintf("%d.x.host:2,S", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fresh, seen := filepath.Join(dir, "new", "9999.y.host"), filepath.Join(dir, "cur", "9999.y.host:2,")
	for i := range 100 {
		if err := os.WriteFile(fresh, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		moved := make(chan error)
		time.AfterFunc(time.Duration(i)*10*time.Microsecond, func() { moved <- os.Rename(fresh, seen) }) // somewhere within
		m, err := OpenMaildir(dir)
		if err := errors.Join(err, <-moved, os.Remove(seen)); err != nil {
			t.Fatal(err)
		}
		if m.Len() != many+1 {
			t.Fatalf("in run %d there are %d messages, want %d", i, m.Len(), many+1)
		}
	}
}

// TestExport: file names are stable, also once a server has moved the files; an mbox comes back as it was.
func TestExport(t *testing.T) {
	s := openStore(t)
	var all list
	for i, body := range []string{"a: b\n\nFrom x\n>From y\n", "", "a: b\n\n" + strings.Repeat("z\n", spoolMemory), "\n\n\n"} {
		all = append(all, letter(fmt.Sprint("u", i), body))
	}
	moves(t, s, all, Result{Moved: 4})
	dir := filepath.Join(t.TempDir(), "out")
	export := func(want Result) {
		t.Helper()
		if got, err := ExportMaildir(t.Context(), s, me, dir, Watch{}); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
	export(Result{Moved: 4})
	files, err := os.ReadDir(filepath.Join(dir, "new"))
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	os.Rename(filepath.Join(dir, "new", files[0].Name()), filepath.Join(dir, "cur", files[0].Name()+":2,S"))
	export(Result{There: 4})
	if b, err := os.ReadFile(filepath.Join(dir, "cur", files[0].Name()+":2,S")); string(b) != "a: b\n\nFrom x\n>From y\n" {
		t.Errorf("%q, %v", b, err)
	}

	path := filepath.Join(t.TempDir(), "mbox")
	if r, err := ExportMbox(t.Context(), s, me, path, Watch{}); err != nil || r.Moved != 4 {
		t.Fatal(r, err)
	}
	m, err := OpenMbox(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var got, want []string
	for i := range m.Len() {
		var b, w bytes.Buffer
		m.Message(i).Read(&b)
		all[i].Read(&w)
		got, want = append(got, b.String()), append(want, w.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d messages came back otherwise", len(got))
	}
}
