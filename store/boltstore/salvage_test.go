package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// withoutLargeRecord is a closed store in which the record of a large message can't be read any more.
func withoutLargeRecord(t *testing.T) (ts *testStore, large store.ID, body []byte) {
	t.Helper()
	ts, want := filled(t)
	sealed, err := ts.log.Sealed()
	if err != nil {
		t.Fatal(err)
	}
	var at seglog.Pos
	for _, seg := range sealed {
		err := ts.log.Walk(seg.Number, 0, func(h *seglog.Header, pos seglog.Pos, _ []byte) error {
			if h.Flags&flagExternal != 0 {
				large, at = h.ID, pos
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if body = want[large]; body == nil {
		t.Fatal("there is no large message in a sealed segment")
	}
	if err := ts.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, filepath.Join(ts.dir, "log", fmt.Sprintf("%016d.seg", at.Segment)), at.Offset+20)
	return ts, large, body
}

// TestRepairKeepsBody: the body of a large message whose record is lost is all that is left of it, and the repair keeps it.
func TestRepairKeepsBody(t *testing.T) {
	ts, large, body := withoutLargeRecord(t)
	said := 0
	err := Repair(t.Context(), ts.dir, func(f store.Finding) {
		if f.Message == large.String() && strings.Contains(f.Text, filepath.Join("salvaged", large.String())) {
			said++
		}
	})
	if err != nil || said != 1 {
		t.Fatalf("the repair ended with %v and named the body %d times", err, said)
	}
	ts.Store = openTest(t, ts.dir, quiet)
	ts.salvaged(large, body)
	if found := ts.verify(); len(found) != 0 {
		t.Errorf("after the repair: %v", found)
	}
}

// TestRepairCutOff: a repair that ends between mending the log and making the index anew loses no body either.
func TestRepairCutOff(t *testing.T) {
	for name, again := range map[string]func(dir string) error{
		"and the store is opened": func(string) error { return nil },
		"and repaired again":      func(dir string) error { return Repair(t.Context(), dir, func(store.Finding) {}) },
	} {
		t.Run(name, func(t *testing.T) {
			ts, large, body := withoutLargeRecord(t)
			if err := errors.Join(repairLog(ts.dir, nil, func(store.Finding) {}), again(ts.dir)); err != nil {
				t.Fatal(err)
			}
			ts.Store = openTest(t, ts.dir, quiet)
			ts.salvaged(large, body)
			if _, err := os.Stat(filepath.Join(ts.dir, repairMark)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the mark of the repair is left: %v", err)
			}
		})
	}
}

// TestRepairWithoutLoss: where no record is lost, a body that no record names is what a crash left, and goes.
func TestRepairWithoutLoss(t *testing.T) {
	ts, _ := filled(t)
	orphan := ts.bodies.name(ts.ids.next())
	if err := errors.Join(ts.Close(), os.WriteFile(orphan, []byte("half\r\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Repair(t.Context(), ts.dir, func(f store.Finding) { t.Error(f.Text) }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{orphan, filepath.Join(ts.dir, "salvaged"), filepath.Join(ts.dir, repairMark)} {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
}

// salvaged wants one file set aside, and none in the store that no message has.
func (ts *testStore) salvaged(id store.ID, body []byte) {
	ts.Helper()
	files, err := os.ReadDir(filepath.Join(ts.dir, "salvaged"))
	if err != nil || len(files) != 1 {
		ts.Fatalf("%d files are set aside, %v", len(files), err)
	}
	got, err := os.ReadFile(filepath.Join(ts.dir, "salvaged", id.String()))
	if err != nil || !bytes.Equal(got, body) {
		ts.Errorf("%d octets of %d are kept, %v", len(got), len(body), err)
	}
	if _, err := os.Stat(ts.bodies.name(id)); !errors.Is(err, fs.ErrNotExist) {
		ts.Errorf("the file is in bodies/ still: %v", err)
	}
}
