package boltstore

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

// TestAccountsOfVersion1 opens an accounts.db that the first version of letterbox wrote. It had neither app passwords nor
// notes of logins; nothing has to be migrated.
func TestAccountsOfVersion1(t *testing.T) {
	packed, err := os.Open("testdata/accounts-1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "accounts.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	identity := `{"format":1,"store":"62c85c15192e309559f27655173075f4","key":"` + hex.EncodeToString(make([]byte, 32)) + `"}`
	if err := os.WriteFile(filepath.Join(dir, "identity"), []byte(identity), 0o600); err != nil {
		t.Fatal(err)
	}
	ts := &testStore{T: t, Store: openTest(t, dir, Options{keepHashes: true}), drop: 1}
	d, err := ts.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Accounts) != 2 || d.Accounts[0].Address != "me@here.example" || !d.Accounts[1].Disabled || len(d.Aliases) != 1 || len(d.CatchAlls) != 1 {
		t.Errorf("directory %+v", d)
	}
	ts.wants("login", ts.login("me", "open sesame ", "203.0.113.1"), nil)
	ts.wants("disabled", ts.login("off", "open sesame ", "203.0.113.1"), store.ErrCredential)
	app := secret.Generate()
	ts.apply(store.Edit{Op: store.AddAppPassword, Address: "me@here.example", Name: "phone", Hash: secret.AppHash(app)})
	ts.again(Options{keepHashes: true}, nil)
	ts.wants("app password", ts.login("me", app, "203.0.113.1"), nil)
	ts.wants("login again", ts.login("me", "open sesame ", "203.0.113.1"), nil)
}
