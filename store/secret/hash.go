// Package secret makes and checks password hashes, and bounds the memory that checking them takes.
//
// New hashes are argon2id (RFC 9106). Hashes that people bring along from other mail servers, bcrypt and SHA-512 crypt, are
// verified too, and Verify says when one should be replaced. What a hash may cost is bounded, since it comes from outside.
package secret

import (
	"errors"
	"fmt"
	"strings"
)

// MaxPassword is the longest password in octets. SHA-512 crypt takes time that grows with the square of the length, and libc
// has the same limit.
const MaxPassword = 512

// Errors of Hash: each is one sentence for the operator.
var (
	ErrEmpty   = errors.New("the password is empty")
	ErrTooLong = fmt.Errorf("the password is longer than %d octets", MaxPassword)
	// ErrControl is for what no POP3 client can send: PASS is one line (RFC 1939 section 3).
	ErrControl = errors.New("the password holds a line end or a NUL, which no mail client can send")
)

// ErrUnknown is what Check returns for a text that begins like no hash that Verify understands.
var ErrUnknown = errors.New("the password hash begins with none of $argon2id$, $2y$, $2b$, $2a$ and $6$")

// stored is one password hash, parsed and found to be within bounds.
type stored interface {
	// memory is what a call of matches takes, in octets.
	memory() int64
	// matches compares in constant time.
	matches(password string) bool
	// current tells whether Hash would make a hash of the same kind and cost.
	current() bool
}

// Hash returns a new argon2id hash of password as a PHC string. It fails only for a password that is empty, too long, or
// holds what no client can send. The call takes about 20 ms and 19 MiB of memory.
func Hash(password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	return newArgon(password).String(), nil
}

func checkPassword(password string) error {
	switch {
	case password == "":
		return ErrEmpty
	case len(password) > MaxPassword:
		return ErrTooLong
	case strings.ContainsAny(password, "\r\n\x00"):
		return ErrControl
	}
	return nil
}

// Check tells whether Verify understands hash and may spend what it costs. The error is one sentence for the operator and
// holds nothing of the hash but its parameters.
func Check(hash string) error {
	_, err := parse(hash)
	return err
}

func parse(hash string) (stored, error) {
	switch {
	case strings.HasPrefix(hash, argonPrefix):
		return parseArgon(hash)
	case strings.HasPrefix(hash, "$2y$"), strings.HasPrefix(hash, "$2b$"), strings.HasPrefix(hash, "$2a$"):
		return parseBcrypt(hash)
	case strings.HasPrefix(hash, shaPrefix):
		return parseSHA512(hash)
	}
	return nil, ErrUnknown
}
