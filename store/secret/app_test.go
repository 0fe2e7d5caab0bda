package secret

import (
	"strings"
	"testing"
)

func TestAppPasswords(t *testing.T) {
	var passwords, hashes []string
	for range 5 {
		p := Generate()
		passwords, hashes = append(passwords, p), append(hashes, AppHash(p))
	}
	for i, p := range passwords {
		if got := MatchApp(hashes, p); got != i {
			t.Errorf("password %d is found as %d", i, got)
		}
		if err := CheckApp(hashes[i]); err != nil {
			t.Error(err)
		}
	}
	for _, wrong := range []string{"", Generate(), passwords[0] + " ", hashes[0], strings.Repeat("x", MaxPassword+1)} {
		if got := MatchApp(hashes, wrong); got != -1 {
			t.Errorf("%.30q is found as %d", wrong, got)
		}
	}
	if MatchApp(nil, passwords[0]) != -1 {
		t.Error("found among none")
	}
	for _, hash := range []string{"", "$sha256$", hashes[0] + "A", hashes[0][:len(hashes[0])-1], strings.TrimPrefix(hashes[0], "$"), hashes[0] + "\n", "$sha256$" + strings.Repeat("*", 43)} {
		if CheckApp(hash) == nil {
			t.Errorf("%q is taken", hash)
		}
	}
	// A fast hash is right for generated passwords alone: it is none for an account.
	if Check(hashes[0]) == nil {
		t.Error("the hash of an app password is taken for an account")
	}
}
