package secret

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// Hashes of "pass word" that other programs made.
const (
	// openssl passwd -6 -salt abcdefgh 'pass word'
	opensslSHA512 = "$6$abcdefgh$YN8B0zmx4g7gHNsAPRHBHL7/9D2xv7Ojh6WbPzJjQGPPjUs3FiTtHkWxn/GwRo78ZpAtbvjbXJsaUxh7djdaf0"
	// python3 -c 'import crypt; print(crypt.crypt("pass word", "$2b$05$abcdefghijklmnopqrstuu"))'
	libcBcrypt = "$2b$05$abcdefghijklmnopqrstuuIt/9/tGzLcigNq/.RWIDjeEVR30RSf."
	// The example of Ulrich Drepper's specification, of "Hello world!" with 10,000 rounds; the salt is cut at 16.
	drepperSHA512 = "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."
	// argon2 somesalt -id -t 2 -m 16 -p 1 of "password": a test vector of the reference implementation.
	referenceArgon = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
)

func TestHashAndVerify(t *testing.T) {
	v := NewVerifier(0)
	hash, err := Hash("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %s", hash)
	}
	if again, _ := Hash("correct horse"); again == hash {
		t.Error("two hashes of one password are the same: no salt")
	}
	check(t, v, hash, "correct horse", true, false)
	check(t, v, hash, "correct horsf", false, false)
	check(t, v, hash, "", false, false)
	byVerifier, err := v.Hash(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	check(t, v, byVerifier, "x", true, false)
}

func TestForeignHashes(t *testing.T) {
	v := NewVerifier(0)
	for _, c := range []struct{ name, hash, password string }{
		{"openssl SHA-512", opensslSHA512, "pass word"},
		{"SHA-512 specification", drepperSHA512, "Hello world!"},
		{"libc bcrypt", libcBcrypt, "pass word"},
		{"bcrypt $2y$", "$2y$" + libcBcrypt[4:], "pass word"},
		{"bcrypt $2a$", "$2a$" + libcBcrypt[4:], "pass word"},
		{"reference argon2id", referenceArgon, "password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Check(c.hash); err != nil {
				t.Fatal(err)
			}
			check(t, v, c.hash, c.password, true, true)
			check(t, v, c.hash, c.password+"x", false, false)
		})
	}
}

func check(t *testing.T, v *Verifier, hash, password string, wantOK, wantRehash bool) {
	t.Helper()
	ok, rehash, err := v.Verify(t.Context(), hash, password)
	if err != nil || ok != wantOK || rehash != wantRehash {
		t.Errorf("%q: %v, rehash %v, %v; want %v, rehash %v", password, ok, rehash, err, wantOK, wantRehash)
	}
}

func TestUnknownAccount(t *testing.T) {
	v := NewVerifier(0)
	check(t, v, "", "", false, false)
	check(t, v, "", "anything", false, false)
	if got, want := reservation(v.nobody), int64(19<<20); got != want {
		t.Errorf("an unknown account costs %d octets, a known one %d", got, want)
	}
}

// A hash that was damaged on disk is told apart from a wrong password, and no password matches it.
func TestVerifyDamagedHash(t *testing.T) {
	ok, rehash, err := NewVerifier(0).Verify(t.Context(), "$argon2id$v=19$", "x")
	if ok || rehash || err == nil {
		t.Errorf("%v, %v, %v", ok, rehash, err)
	}
}

// A password longer than any that was hashed never matches, also where bcrypt reads the first 72 octets only.
func TestVerifyLongPassword(t *testing.T) {
	v := NewVerifier(0)
	longest := strings.Repeat("p", MaxPassword)
	hash, err := Hash(longest)
	if err != nil {
		t.Fatal(err)
	}
	check(t, v, hash, longest, true, false)
	check(t, v, hash, longest+"p", false, false)
}

func TestHashRefuses(t *testing.T) {
	for password, want := range map[string]error{
		"":                                  ErrEmpty,
		strings.Repeat("x", MaxPassword+1):  ErrTooLong,
		"one\r\ntwo":                        ErrControl,
		"nul\x00":                           ErrControl,
		strings.Repeat("x", MaxPassword):    nil,
		"with spaces, ümlauts and \t a tab": nil,
	} {
		if _, err := Hash(password); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", password, err, want)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	const salt, key = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	argon := func(cost string) string { return "$argon2id$v=19$" + cost + "$" + salt + "$" + key }
	for name, c := range map[string]struct{ hash, want string }{
		"empty":            {"", "begins with none of"},
		"a password":       {"secret", "begins with none of"},
		"md5":              {"$1$abc$def", "begins with none of"},
		"argon2i":          {"$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + key, "begins with none of"},
		"old version":      {"$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + key, "damaged"},
		"no version":       {"$argon2id$m=65536,t=2,p=1$" + salt + "$" + key, "damaged"},
		"memory":           {argon("m=262145,t=2,p=1"), "m=262145"},
		"memory for lanes": {argon("m=31,t=2,p=4"), "m=31"},
		"time":             {argon("m=65536,t=17,p=1"), "t=17"},
		"no time":          {argon("m=65536,t=0,p=1"), "t=0"},
		"lanes":            {argon("m=65536,t=2,p=17"), "p=17"},
		"no lanes":         {argon("m=65536,t=2,p=0"), "p=0"},
		"overflow":         {argon("m=4294967297,t=2,p=1"), "damaged"},
		"signed":           {argon("m=+65536,t=2,p=1"), "damaged"},
		"zeros":            {argon("m=065536,t=2,p=1"), "damaged"},
		"order":            {argon("t=2,m=65536,p=1"), "damaged"},
		"key id":           {argon("m=65536,t=2,p=1,keyid=AA"), "damaged"},
		"short salt":       {"$argon2id$v=19$m=65536,t=2,p=1$c2FsdA$" + key, "salt of 4"},
		"short key":        {"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$c2FsdA", "key of 4"},
		"long key":         {"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + strings.Repeat("AAAA", 22), "key of 66"},
		"padded":           {argon("m=65536,t=2,p=1") + "=", "damaged"},
		"bcrypt cost":      {strings.Replace(libcBcrypt, "$05$", "$17$", 1), "cost of 17"},
		"bcrypt low cost":  {strings.Replace(libcBcrypt, "$05$", "$03$", 1), "damaged"},
		"bcrypt short":     {libcBcrypt[:59], "damaged"},
		"bcrypt alphabet":  {libcBcrypt[:59] + "!", "damaged"},
		"sha rounds":       {strings.Replace(drepperSHA512, "10000", "5000001", 1), "rounds=5000001"},
		"sha few rounds":   {strings.Replace(drepperSHA512, "10000", "999", 1), "rounds=999"},
		"sha no rounds":    {strings.Replace(drepperSHA512, "10000", "", 1), "damaged"},
		"sha long salt":    {strings.Replace(drepperSHA512, "$salt", "$ssalt", 1), "damaged"},
		"sha no salt":      {"$6$" + opensslSHA512[11:], "damaged"},
		"sha cut":          {opensslSHA512[:20], "damaged"},
	} {
		if err := Check(c.hash); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestGenerate(t *testing.T) {
	seen := map[string]bool{}
	letters := map[rune]bool{}
	for range 200 {
		p := Generate()
		if seen[p] {
			t.Fatalf("%s came twice", p)
		}
		seen[p] = true
		parts := strings.Split(p, "-")
		if len(parts) != 4 || len(p) != 23 {
			t.Fatalf("%s", p)
		}
		for _, r := range strings.Join(parts, "") {
			if !strings.ContainsRune(easy, r) {
				t.Fatalf("%s holds %q", p, r)
			}
			letters[r] = true
		}
	}
	if len(letters) != len(easy) { // 4,000 draws miss one of 31 with a chance below 1e-55
		t.Errorf("only %d of %d characters came up", len(letters), len(easy))
	}
	if strings.ContainsAny(easy, "01oil") {
		t.Error("look-alikes among the characters")
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{opensslSHA512, libcBcrypt, drepperSHA512, referenceArgon, "", "$6$", "$2y$", "$argon2id$",
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"} {
		f.Add(s)
	}
	v := NewVerifier(0)
	f.Fuzz(func(t *testing.T, hash string) {
		h, err := parse(hash)
		if err != nil {
			if h != nil || strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("%v beside %q", h, err)
			}
			return
		}
		if h.memory() > maxArgonMemory<<10 {
			t.Fatalf("a check costs %d octets", h.memory())
		}
		if a, ok := h.(argon); ok {
			if a.String() != hash {
				t.Fatalf("%q was read as %q", hash, a.String())
			}
			if a.m*a.t <= 1024 {
				if ok, _, err := v.Verify(context.Background(), hash, "x"); ok || err != nil {
					t.Fatalf("%v, %v", ok, err)
				}
			}
		}
	})
}
