package boltstore

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// importing is a store into which one message was moved.
type importing struct{ *testStore }

const importedBody = "Subject: one\r\n\r\nbody\r\n"

func newImporting(t *testing.T, p KeepPolicy) *importing {
	i := &importing{newTestStore(t, Options{reclaimInterval: time.Hour, keepInterval: time.Hour, Keep: p})}
	i.wants("the first import", i.bring("uid-1", importedBody), "")
	return i
}

func (i *importing) bring(uidl, body string) error {
	_, err := i.Import(i.Context(), "me@here.example", uidl, strings.NewReader(body))
	return err
}

// wants compares the code of an error, empty for none.
func (i *importing) wants(what string, err error, code store.EditCode) {
	i.Helper()
	var e *store.EditError
	if errors.As(err, &e); err != nil && e == nil || (e != nil) != (code != "") || e != nil && e.Code != code {
		i.Errorf("%s: %v, want the code %q", what, err, code)
	}
}

// again makes the import again, with others under its UIDL and beside it.
func (i *importing) again(waiting int) {
	i.Helper()
	i.wants("the same message", i.bring("uid-1", importedBody), store.CodeExists)
	i.wants("another one", i.bring("uid-1", "Subject: another\r\n\r\nbody\r\n"), store.CodeTaken)
	i.wants("another one of its size", i.bring("uid-1", strings.ToUpper(importedBody)), store.CodeTaken)
	if n := len(i.pick2()); n != waiting {
		i.Errorf("%d messages wait, want %d", n, waiting)
	}
}

// TestImportAfterDeletion: what a client deleted no import brings back, however it was deleted and whatever came between, and
// another message does not get its UIDL.
func TestImportAfterDeletion(t *testing.T) {
	bin := KeepPolicy{UndeleteFor: time.Hour}
	for name, tt := range map[string]struct {
		policy  KeepPolicy
		between func(i *importing)
		waiting int
	}{
		"nothing":  {between: func(*importing) {}, waiting: 1},
		"for good": {between: func(i *importing) { i.remove([]int{0}) }},
		"the bin":  {policy: bin, between: func(i *importing) { i.remove([]int{0}) }},
		"undelete": {policy: bin, waiting: 1, between: func(i *importing) {
			i.remove([]int{0})
			if n, err := i.Undelete(i.Context(), "me@here.example", time.Time{}); err != nil || n != 1 {
				i.Fatal(n, err)
			}
		}},
		"the bin's end": {policy: bin, between: func(i *importing) {
			i.remove([]int{0})
			if n, err := i.purge(i.Context(), time.Now().Add(time.Hour)); err != nil || n != 1 {
				i.Fatal(n, err)
			}
		}},
		"expiry": {between: func(i *importing) {
			if n, err := i.expire(i.Context(), time.Now().Add(time.Hour)); err != nil || n != 1 {
				i.Fatal(n, err)
			}
		}},
		"a rebuilt index": {between: func(i *importing) {
			i.withoutIndex()
			i.remove([]int{0})
		}},
		"a backup": {between: func(i *importing) {
			i.remove([]int{0})
			var out bytes.Buffer
			if _, err := i.Backup(i.Context(), &out); err != nil {
				i.Fatal(err)
			}
			dir := filepath.Join(scratch(i.T), "restored")
			if _, err := Restore(i.Context(), dir, &out, quiet); err != nil {
				i.Fatal(err)
			}
			i.Store = openTest(i.T, dir, quiet)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImporting(t, tt.policy)
			tt.between(i)
			i.again(tt.waiting)
			i.imports.have = nil // as a minute later
			i.again(tt.waiting)
			if found := i.verify(); len(found) != 0 {
				t.Error(found)
			}
		})
	}
}

// TestImportLargeAfterDeletion is the same for a body that is a file of its own.
func TestImportLargeAfterDeletion(t *testing.T) {
	i := newImporting(t, KeepPolicy{})
	large := string(pattern(2 * maxInMemory))
	i.wants("a large one", i.bring("uid-2", large), "")
	i.withoutIndex()
	i.wants("while it waits", i.bring("uid-2", large), store.CodeExists)
	i.remove([]int{1})
	i.wants("deleted", i.bring("uid-2", large), store.CodeExists)
	i.wants("another", i.bring("uid-2", large[:maxInMemory]), store.CodeTaken)
}

// TestImportForgets: with its account goes what is remembered of its imports, and nothing of others'.
func TestImportForgets(t *testing.T) {
	i := newImporting(t, KeepPolicy{})
	i.apply(store.Edit{Op: store.AddAccount, Address: "you@here.example", Hash: testHash})
	if _, err := i.Import(t.Context(), "you@here.example", "uid-1", strings.NewReader(importedBody)); err != nil {
		t.Fatal(err)
	}
	i.remove([]int{0})
	i.drop = 2
	i.remove([]int{0})
	i.apply(store.Edit{Op: store.RemoveAccount, Address: "you@here.example"})
	if _, ok, err := i.accounts.imported(2, "uid-1"); ok || err != nil {
		t.Errorf("it is remembered: %t, %v", ok, err)
	}
	i.drop = 1
	i.again(0)
}

// TestImportInPlaceOfDamage: where the message that has the UIDL can't be read any more, the one that comes again is taken, under
// another.
func TestImportInPlaceOfDamage(t *testing.T) {
	i := newImporting(t, KeepPolicy{})
	r, ok, err := i.index.refs(i.pick2()[0].ID)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	flip(t, filepath.Join(i.dir, "log", "0000000000000001.seg"), r.pos.Offset+r.size-3)
	i.wants("the same message", i.bring("uid-1", importedBody), store.CodeTaken)
}

// TestImportMemoryEnds: the list of UIDLs that an import keeps for the next is given back when none comes, and not while one is
// under way, for which the others do not wait.
func TestImportMemoryEnds(t *testing.T) {
	clock := &testClock{}
	ts := newTestStore(t, Options{Now: clock.now, keepInterval: time.Hour})
	bring := func(uidl string) {
		t.Helper()
		if _, err := ts.Import(t.Context(), "me@here.example", uidl, strings.NewReader(importedBody)); err != nil {
			t.Fatal(err)
		}
	}
	listed := func() int {
		ts.imports.mu.Lock()
		defer ts.imports.mu.Unlock()
		return len(ts.imports.have)
	}
	bring("uid-1")
	ts.keeper.keep()
	if n := listed(); n != 1 {
		t.Errorf("at once: %d are listed, want 1", n)
	}
	clock.advance(importMemory + time.Second)
	ts.imports.mu.Lock()
	ts.keeper.keep()
	ts.imports.mu.Unlock()
	if n := listed(); n != 1 {
		t.Errorf("during an import: %d are listed, want 1", n)
	}
	ts.keeper.keep()
	if n := listed(); n != 0 {
		t.Errorf("later: %d are listed still", n)
	}
	bring("uid-2")
	if n := listed(); n != 2 {
		t.Errorf("behind the next import: %d are listed, want 2", n)
	}
}
