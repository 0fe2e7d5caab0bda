package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

const argonPrefix = "$argon2id$"

// The parameters of new hashes: the second choice of OWASP's password storage list, for servers that are short of memory.
const (
	argonMemory  = 19456 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16 // octets
	argonKey     = 32
)

// Bounds of the hashes that people bring along. RFC 9106 section 3.1 allows far more; a login must not cost that.
const (
	maxArgonMemory  = 256 << 10 // KiB
	maxArgonTime    = 16
	maxArgonThreads = 16
	minArgonSalt    = 8
	minArgonKey     = 16
	maxArgonOctets  = 64 // of the salt, and of the key
)

var errArgonForm = errors.New("the argon2id hash is damaged: want $argon2id$v=19$m=…,t=…,p=…$salt$key")

// argon is a hash in the form of the PHC string format.
type argon struct {
	m, t      uint32 // KiB, passes
	p         uint8
	salt, key []byte
}

func newArgon(password string) argon {
	a := argon{m: argonMemory, t: argonTime, p: argonThreads, salt: make([]byte, argonSalt)}
	rand.Read(a.salt) // never fails: the program ends where the system has no random numbers
	a.key = a.derive(password, argonKey)
	return a
}

func parseArgon(hash string) (stored, error) {
	fields := strings.Split(strings.TrimPrefix(hash, argonPrefix), "$")
	if len(fields) != 4 || fields[0] != "v=19" {
		return nil, errArgonForm
	}
	a, err := parseArgonCost(fields[1])
	if err != nil {
		return nil, err
	}
	b64 := base64.RawStdEncoding.Strict()
	if a.salt, err = b64.DecodeString(fields[2]); err != nil {
		return nil, errArgonForm
	}
	if a.key, err = b64.DecodeString(fields[3]); err != nil {
		return nil, errArgonForm
	}
	if n := len(a.salt); n < minArgonSalt || n > maxArgonOctets {
		return nil, fmt.Errorf("the argon2id hash has a salt of %d octets; %d to %d are taken", n, minArgonSalt, maxArgonOctets)
	}
	if n := len(a.key); n < minArgonKey || n > maxArgonOctets {
		return nil, fmt.Errorf("the argon2id hash has a key of %d octets; %d to %d are taken", n, minArgonKey, maxArgonOctets)
	}
	if a.String() != hash { // the decoder skips line ends; each hash has one spelling
		return nil, errArgonForm
	}
	return a, nil
}

// parseArgonCost reads m=…,t=…,p=…, in this order as the format demands.
func parseArgonCost(s string) (argon, error) {
	fields := strings.Split(s, ",")
	if len(fields) != 3 {
		return argon{}, errArgonForm
	}
	var v [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, found := strings.CutPrefix(fields[i], name)
		n, ok := decimal(digits)
		if !found || !ok {
			return argon{}, errArgonForm
		}
		v[i] = n
	}
	switch m, t, p := v[0], v[1], v[2]; {
	case t < 1 || t > maxArgonTime:
		return argon{}, fmt.Errorf("the argon2id hash has t=%d; 1 to %d are taken", t, maxArgonTime)
	case p < 1 || p > maxArgonThreads:
		return argon{}, fmt.Errorf("the argon2id hash has p=%d; 1 to %d are taken", p, maxArgonThreads)
	case m < 8*p || m > maxArgonMemory: // RFC 9106 section 3.1: at least 8p KiB
		return argon{}, fmt.Errorf("the argon2id hash has m=%d; %d to %d (KiB) are taken", m, 8*p, maxArgonMemory)
	}
	return argon{m: uint32(v[0]), t: uint32(v[1]), p: uint8(v[2])}, nil
}

// decimal reads a number of at most 32 bits without sign and leading zeros, so that each cost has one spelling.
func decimal(s string) (uint64, bool) {
	if len(s) > 1 && s[0] == '0' || strings.HasPrefix(s, "+") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return n, err == nil
}

func (a argon) derive(password string, octets uint32) []byte {
	return argon2.IDKey([]byte(password), a.salt, a.t, a.m, a.p, octets)
}

func (a argon) memory() int64 { return int64(a.m) << 10 }

func (a argon) matches(password string) bool {
	return subtle.ConstantTimeCompare(a.derive(password, uint32(len(a.key))), a.key) == 1
}

func (a argon) current() bool {
	return a.m == argonMemory && a.t == argonTime && a.p == argonThreads && len(a.salt) == argonSalt && len(a.key) == argonKey
}

// String returns the PHC string.
func (a argon) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", argonPrefix, argon2.Version, a.m, a.t, a.p,
		b64.EncodeToString(a.salt), b64.EncodeToString(a.key))
}
