package boltstore

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

func (e *editor) changeAppPasswords(edit store.Edit) error {
	name, acc, err := e.existing(edit.Address)
	if err != nil {
		return err
	}
	at, found := slices.BinarySearchFunc(acc.AppPasswords, edit.Name, func(p appPassword, name string) int {
		return strings.Compare(p.Name, name)
	})
	acc.AppPasswords = slices.Clone(acc.AppPasswords)
	switch {
	case edit.Op == store.RemoveAppPassword && !found:
		return refuse(store.CodeMissing, "%s has no app password %q: see letterbox user app-password list %s", name, edit.Name, name)
	case edit.Op == store.RemoveAppPassword:
		acc.AppPasswords = slices.Delete(acc.AppPasswords, at, at+1)
	case found:
		return refuse(store.CodeExists, "%s has an app password %q already: remove that first, or choose another name", name, edit.Name)
	default:
		p, err := e.appPassword(acc, edit)
		if err != nil {
			return err
		}
		acc.AppPasswords = slices.Insert(acc.AppPasswords, at, p)
	}
	return putJSON(e.tx.Bucket(bucketAccounts), name, &acc)
}

// appPassword makes what an edit describes.
func (e *editor) appPassword(acc account, edit store.Edit) (appPassword, error) {
	if reason := checkAppName(edit.Name); reason != "" {
		return appPassword{}, refuse(store.CodeInvalid, "an app password can't be named %q: %s", edit.Name, reason)
	}
	if err := secret.CheckApp(edit.Hash); err != nil {
		return appPassword{}, refuse(store.CodeInvalid, "app password %q: %v", edit.Name, err)
	}
	if len(acc.AppPasswords) >= store.MaxAppPasswords {
		return appPassword{}, refuse(store.CodeInvalid, "the account has %d app passwords, and more are not kept: remove one first", store.MaxAppPasswords)
	}
	return appPassword{
		Name: edit.Name, Hash: edit.Hash, Since: e.revision(), Created: e.s.opt.Now().UTC().Truncate(1e9),
	}, nil
}

// checkAppName says what is wrong with a name, empty for nothing.
func checkAppName(name string) string {
	switch {
	case name == "" || strings.TrimSpace(name) != name:
		return "it is empty, or begins or ends with a space"
	case len(name) > store.MaxAppName:
		return "it is too long; 64 octets are taken"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return "it holds a character that can't be printed"
	}
	return ""
}
