package secret

import (
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"github.com/go-crypt/x/crypt"
	"golang.org/x/crypto/bcrypt"
)

// maxBcryptCost is the most that is taken of the bcrypt cost, which doubles the time with each step: 16 takes seconds.
const maxBcryptCost = 16

// bcryptLength is the length of every bcrypt hash: `$2y$12$`, 22 characters of salt and 31 of key.
const bcryptLength = 60

var errBcryptForm = errors.New("the bcrypt hash is damaged: want 60 characters as in $2y$12$…")

// bcryptHash is a bcrypt hash as it was given. bcrypt reads 72 octets of a password and drops the rest.
type bcryptHash string

func parseBcrypt(hash string) (stored, error) {
	if len(hash) != bcryptLength || hash[6] != '$' || strings.Trim(hash[7:], cryptAlphabet) != "" {
		return nil, errBcryptForm
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return nil, errBcryptForm
	}
	if cost > maxBcryptCost {
		return nil, fmt.Errorf("the bcrypt hash has a cost of %d; %d to %d are taken", cost, bcrypt.MinCost, maxBcryptCost)
	}
	return bcryptHash(hash), nil
}

func (h bcryptHash) memory() int64 { return 4 << 10 }

func (h bcryptHash) matches(password string) bool {
	return bcrypt.CompareHashAndPassword([]byte(h), []byte(password)) == nil
}

func (h bcryptHash) current() bool { return false }

const (
	shaPrefix        = "$6$"
	shaRoundsPrefix  = "rounds="
	shaDefaultRounds = 5000
	shaMinRounds     = 1000
	shaMaxRounds     = 5_000_000
	shaMaxSalt       = 16
	shaKeyLength     = 86
)

// cryptAlphabet is crypt's base 64; bcrypt's has the same characters in another order.
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var errSHAForm = errors.New("the SHA-512 hash is damaged: want $6$salt$key or $6$rounds=N$salt$key")

// sha512Hash is a hash of glibc's SHA-512 crypt.
type sha512Hash struct {
	rounds    int
	salt, key string
}

func parseSHA512(hash string) (stored, error) {
	h := sha512Hash{rounds: shaDefaultRounds}
	rest := strings.TrimPrefix(hash, shaPrefix)
	if spec, ok := strings.CutPrefix(rest, shaRoundsPrefix); ok {
		digits, after, _ := strings.Cut(spec, "$")
		n, ok := decimal(digits)
		if !ok {
			return nil, errSHAForm
		}
		if n < shaMinRounds || n > shaMaxRounds {
			return nil, fmt.Errorf("the SHA-512 hash has rounds=%d; %d to %d are taken", n, shaMinRounds, shaMaxRounds)
		}
		h.rounds, rest = int(n), after
	}
	var found bool
	if h.salt, h.key, found = strings.Cut(rest, "$"); !found {
		return nil, errSHAForm
	}
	if h.salt == "" || len(h.salt) > shaMaxSalt || strings.Trim(h.salt, cryptAlphabet) != "" {
		return nil, errSHAForm
	}
	if len(h.key) != shaKeyLength || strings.Trim(h.key, cryptAlphabet) != "" {
		return nil, errSHAForm
	}
	return h, nil
}

func (h sha512Hash) memory() int64 { return 4 << 10 }

func (h sha512Hash) matches(password string) bool {
	key := crypt.KeySHACrypt(sha512.New, []byte(password), []byte(h.salt), h.rounds)
	return subtle.ConstantTimeCompare(key, []byte(h.key)) == 1
}

func (h sha512Hash) current() bool { return false }
