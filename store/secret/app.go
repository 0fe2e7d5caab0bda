package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
)

const (
	appPrefix = "$sha256$"
	// appDomain keeps the hash apart from every other use of SHA-256.
	appDomain = "letterbox app password\x00"
)

var errAppForm = errors.New("the hash of the app password is damaged: want $sha256$ and 43 characters of base64")

// AppHash returns what is stored of a password that Generate made. Such a password has 99 bits, so nobody finds it by trying
// and a fast hash is enough; it has no salt, so that one hash of what a client sent is compared with all app passwords of an
// account. AppHash is not for passwords that people choose.
func AppHash(generated string) string {
	sum := sha256.Sum256([]byte(appDomain + generated))
	return appPrefix + base64.RawStdEncoding.EncodeToString(sum[:])
}

// CheckApp tells whether hash is one that AppHash made.
func CheckApp(hash string) error {
	text, ok := strings.CutPrefix(hash, appPrefix)
	sum, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(sum) != sha256.Size || strings.ContainsAny(text, "\r\n") {
		return errAppForm
	}
	return nil
}

// MatchApp returns which of hashes password was made into, -1 for none. It costs one hash however many there are, also when
// there are none, and compares in constant time.
func MatchApp(hashes []string, password string) int {
	if len(password) > MaxPassword {
		password = "" // which Generate never made
	}
	sum, found := []byte(AppHash(password)), -1
	for i, h := range hashes {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare([]byte(h), sum), i, found)
	}
	return found
}
