package boltstore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// backedUp is a store with a bit of everything, and its backup.
func backedUp(t *testing.T) (*testStore, []byte, store.BackupReport) {
	t.Helper()
	ts, _ := filled(t)
	ts.SetKeep(KeepPolicy{UndeleteFor: time.Hour})
	ts.remove([]int{1, 3, 5})
	if _, err := ts.Apply(t.Context(), 0, []store.Edit{
		{Op: store.AddAccount, Address: "you@here.example", Hash: testHash},
		{Op: store.AddAlias, Address: "all@here.example", Targets: []string{"me@here.example", "you@here.example"}},
	}); err != nil {
		t.Fatal(err)
	}
	d := ts.begin(pattern(5000))
	if err := d.Commit(t.Context(), store.Final{Recipients: []store.Recipient{{Maildrop: 1, Prefix: []byte("To: me\r\n")}, {Maildrop: 2}}}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	report, err := ts.Backup(t.Context(), &out)
	if err != nil || int64(out.Len()) != report.Octets {
		t.Fatalf("%+v of %d octets: %v", report, out.Len(), err)
	}
	return ts, out.Bytes(), report
}

// TestBackup: what comes out of a backup is what went in, under the same UIDLs, in the same order.
func TestBackup(t *testing.T) {
	ts, backup, report := backedUp(t)
	want := contentOf(t, ts.Store)
	if got, err := CheckBackup(t.Context(), bytes.NewReader(backup)); err != nil || got != report {
		t.Fatalf("checked: %+v %v, want %+v", got, err, report)
	}
	dir := filepath.Join(scratch(t), "restored")
	if got, err := Restore(t.Context(), dir, bytes.NewReader(backup), quiet); err != nil || got != report {
		t.Fatalf("restored: %+v %v, want %+v", got, err, report)
	}
	again := &testStore{T: t, Store: openTest(t, dir, quiet), drop: 1}
	got := contentOf(t, again.Store)
	if !reflect.DeepEqual(got.Accounts, want.Accounts) || !reflect.DeepEqual(got.Aliases, want.Aliases) || got.Octets != want.Octets {
		t.Errorf("restored %+v, want %+v", got, want)
	}
	if found := again.verify(); len(found) != 0 {
		t.Errorf("verify: %v", found)
	}
	for range 3 { // ids and sequence numbers go on behind those that were restored
		again.send([]byte("later\r\n"))
	}
	again.withoutIndex()
	if got := contentOf(t, again.Store); len(got.Accounts["me@here.example"].Messages) != len(want.Accounts["me@here.example"].Messages)+3 {
		t.Errorf("%d messages after three more", len(got.Accounts["me@here.example"].Messages))
	}
	var twice bytes.Buffer
	if _, err := ts.Backup(t.Context(), &twice); err != nil || !bytes.Equal(twice.Bytes(), backup) {
		t.Errorf("a second backup differs: %d and %d octets, %v", twice.Len(), len(backup), err)
	}
}

// TestBackupDamaged: a backup that is cut off anywhere, or has one octet wrong, is refused, and leaves no store behind.
func TestBackupDamaged(t *testing.T) {
	_, backup, _ := backedUp(t)
	refused := func(what string, b []byte) {
		t.Helper()
		if _, err := CheckBackup(t.Context(), bytes.NewReader(b)); !errors.Is(err, ErrBackup) || strings.Contains(err.Error(), "EOF") {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for n := 0; n < len(backup); n += 9973 {
		refused("cut off", backup[:n])
	}
	for n := 0; n < len(backup); n += 15101 {
		if n >= 12 && n < backupHeader { // nobody needs these
			continue
		}
		b := bytes.Clone(backup)
		b[n] ^= 4
		refused("one octet wrong", b)
	}
	dir := filepath.Join(scratch(t), "restored")
	if _, err := Restore(t.Context(), dir, bytes.NewReader(backup[:len(backup)/2]), quiet); !errors.Is(err, ErrBackup) {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNoStore) {
		t.Errorf("half a backup makes a store: %v", err)
	}
	if _, err := Restore(t.Context(), dir, bytes.NewReader(backup), quiet); err != nil {
		t.Errorf("and then the whole one: %v", err)
	}
	if _, err := Restore(t.Context(), dir, bytes.NewReader(backup), quiet); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into a folder with a store: %v", err)
	}
}

// TestBackedUpByAClockThatWasAhead: what a clock that was ahead dated is the last backup until that clock is set right, and no longer:
// else nobody would hear for years that none is made.
func TestBackedUpByAClockThatWasAhead(t *testing.T) {
	clock := &testClock{}
	o := quiet
	o.Now = clock.now
	ts := newTestStore(t, o)
	clock.advance(24 * 365 * time.Hour)
	ts.BackedUp(clock.now())
	clock.advance(-24 * 365 * time.Hour)
	for _, ago := range []time.Duration{time.Hour, 2 * time.Hour} {
		ts.BackedUp(clock.now().Add(-ago))
		if age := clock.now().Sub(ts.Stats().LastBackup).Round(time.Minute); age != time.Hour {
			t.Errorf("the last backup is %s old", age)
		}
	}
}

// TestRestoreBrokenOff: a restore that was killed while it moved the store to its place can be made again.
func TestRestoreBrokenOff(t *testing.T) {
	_, backup, _ := backedUp(t)
	for n := range storeParts() {
		dir := filepath.Join(scratch(t), "restored")
		if _, err := Restore(t.Context(), dir, bytes.NewReader(backup), quiet); err != nil {
			t.Fatal(err)
		}
		part := filepath.Join(dir, restoringFolder)
		if err := os.Mkdir(part, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range storeParts()[n:] { // those that had not moved yet
			os.Rename(filepath.Join(dir, name), filepath.Join(part, name))
		}
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrNoStore) {
			t.Errorf("%d parts are a store: %v", n, err)
		}
		if _, err := Restore(context.Background(), dir, bytes.NewReader(backup), quiet); err != nil {
			t.Errorf("again after %d parts: %v", n, err)
		}
	}
}

// TestRestoreBesideStore: a restore that is made again refuses a folder in which the first one came to its end, also where the folder
// restoring/ is left, since it was killed behind its last step; and takes nothing out of that store.
func TestRestoreBesideStore(t *testing.T) {
	_, backup, report := backedUp(t)
	dir := filepath.Join(scratch(t), "restored")
	if _, err := Restore(t.Context(), dir, bytes.NewReader(backup), quiet); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Restore(t.Context(), dir, bytes.NewReader(backup), quiet); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("the second restore: %v", err)
		}
		if err := os.MkdirAll(filepath.Join(dir, restoringFolder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	again := &testStore{T: t, Store: openTest(t, dir, quiet), drop: 1}
	if got := again.Stats(); got.Messages != report.Entries || len(again.verify()) != 0 {
		t.Errorf("%+v, want %+v", got, report)
	}
	foreign := scratch(t)
	if err := os.WriteFile(filepath.Join(foreign, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), foreign, bytes.NewReader(backup), quiet); !errors.Is(err, ErrNotEmpty) {
		t.Error(err)
	}
	if left, err := os.ReadDir(foreign); err != nil || len(left) != 1 {
		t.Errorf("the folder that was refused holds %v, %v", left, err)
	}
}

// FuzzBackup: no stream makes the reader panic, or hold more than came.
func FuzzBackup(f *testing.F) {
	f.Add([]byte(backupMagic))
	item := &backupItem{kind: backupAccounts, head: []byte{1, 'a', 1, 'b', 1, 'c'}}
	var out bytes.Buffer
	w, err := newBackupWriter(&out, [16]byte{1})
	if err == nil {
		err = errors.Join(w.put(item, nil), w.finish(0, 0))
	}
	if err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		report, err := CheckBackup(t.Context(), bytes.NewReader(b))
		if err == nil && report.Octets != int64(len(b)) && report.Octets > int64(len(b)) {
			t.Errorf("%d octets of %d", report.Octets, len(b))
		}
	})
}
