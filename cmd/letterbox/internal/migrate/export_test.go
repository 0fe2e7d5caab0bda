package migrate

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/letterbox/store"
)

// TestExportFollowsNoLink: a folder may be its user's, who knows the names of what comes: what stands there is not written to.
func TestExportFollowsNoLink(t *testing.T) {
	s := openStore(t)
	moves(t, s, list{letter("u", "a: b\n\nmine\n")}, Result{Moved: 1})
	mail, err := s.Mail(t.Context(), me)
	if err != nil {
		t.Fatal(err)
	}
	for what, link := range map[string]func(string, string) error{"a symbolic link": os.Symlink, "a hard link": os.Link} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			victim, maildir, mbox := filepath.Join(dir, "victim"), filepath.Join(dir, "Maildir"), filepath.Join(dir, "mbox")
			name := maildirName(mail[0])
			for _, err := range []error{
				os.WriteFile(victim, []byte("precious"), 0o644), os.MkdirAll(filepath.Join(maildir, "tmp"), 0o700),
				link(victim, filepath.Join(maildir, "tmp", name)), link(victim, mbox+".part"),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if r, err := ExportMaildir(t.Context(), s, me, maildir, Watch{}); err != nil || r.Moved != 1 {
				t.Errorf("maildir: %+v, %v", r, err)
			}
			if r, err := ExportMbox(t.Context(), s, me, mbox, Watch{}); err != nil || r.Moved != 1 {
				t.Errorf("mbox: %+v, %v", r, err)
			}
			if text, err := os.ReadFile(victim); string(text) != "precious" {
				t.Errorf("the other file holds %q, %v", text, err)
			}
			for _, file := range []string{filepath.Join(maildir, "new", name), mbox} {
				if info, err := os.Lstat(file); err != nil || info.Mode() != 0o600 {
					t.Errorf("%s: %v, %v", file, info, err)
				}
			}
		})
	}
}

// twice begins another export while one is under way.
type twice struct {
	Store
	begin func()
}

func (s *twice) Copy(ctx context.Context, address string, id store.ID, w io.Writer) error {
	if begin := s.begin; begin != nil {
		s.begin = nil
		if _, err := io.WriteString(w, "a: b\r\n"); err != nil {
			return err
		}
		begin()
	}
	return s.Store.Copy(ctx, address, id, w)
}

// broken fails in the middle of a message, as one that is killed there.
type broken struct{ Store }

func (s broken) Copy(_ context.Context, _ string, _ store.ID, w io.Writer) error {
	_, _ = io.WriteString(w, strings.Repeat("half\r\n", 1<<16))
	panic("killed")
}

// TestExportTwice: of two exports to one place none gives the other's half its name.
func TestExportTwice(t *testing.T) {
	s := openStore(t)
	moves(t, s, list{letter("u", "a: b\n\nmine\n")}, Result{Moved: 1})
	dir := t.TempDir()
	for what, export := range map[string]func(st Store) error{
		"maildir": func(st Store) error {
			_, err := ExportMaildir(t.Context(), st, me, filepath.Join(dir, "Maildir"), Watch{})
			return err
		},
		"mbox": func(st Store) error {
			_, err := ExportMbox(t.Context(), st, me, filepath.Join(dir, "mbox"), Watch{})
			return err
		},
	} {
		killed := func() {
			defer func() { _ = recover() }() // what it has written stays
			_ = export(broken{s})
		}
		if err := export(&twice{s, killed}); err == nil {
			t.Errorf("%s: the first has its name, and is the second's", what)
		}
	}
	for _, file := range []string{"Maildir/new/*", "mbox"} {
		if there, err := filepath.Glob(filepath.Join(dir, file)); err != nil || len(there) > 0 {
			t.Errorf("%v, %v", there, err)
		}
	}
}
