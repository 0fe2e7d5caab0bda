package secret

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

const (
	scramPrefix = "SCRAM-SHA-256$"
	// scramIterations is what OWASP's password storage list asks of PBKDF2 with SHA-256.
	scramIterations = 600_000
	scramSalt       = 16 // octets
	minSCRAMSalt    = 8
	maxSCRAMSalt    = 64
	minIterations   = 4096 // RFC 7677 section 4
	maxIterations   = 100_000_000
)

// ErrSCRAMPassword is for a password that SASLprep (RFC 4013) refuses.
var ErrSCRAMPassword = errors.New("the password holds a character that SCRAM can't carry: choose another, or turn [pop3] scram off")

var errSCRAMForm = errors.New("the SCRAM keys are damaged: want SCRAM-SHA-256$iterations:salt$storedkey:serverkey")

// SCRAMKeys returns what a server keeps of a password for SCRAM-SHA-256, in the form of RFC 5803: with it nobody can log in
// in the owner's place, but try passwords at the cost of 600,000 iterations each. The call takes about 0.2 s.
func SCRAMKeys(password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	c, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		return "", ErrSCRAMPassword
	}
	salt := make([]byte, scramSalt)
	rand.Read(salt) //nolint:errcheck // it never fails
	keys, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: scramIterations})
	if err != nil {
		return "", err
	}
	return formatSCRAM(keys), nil
}

func formatSCRAM(c scram.StoredCredentials) string {
	b64 := base64.StdEncoding
	return fmt.Sprintf("%s%d:%s$%s:%s", scramPrefix, c.Iters, b64.EncodeToString([]byte(c.Salt)),
		b64.EncodeToString(c.StoredKey), b64.EncodeToString(c.ServerKey))
}

// CheckSCRAM tells whether keys are what SCRAMKeys returns.
func CheckSCRAM(keys string) error {
	_, err := parseSCRAM(keys)
	return err
}

func parseSCRAM(keys string) (c scram.StoredCredentials, err error) {
	rest, ok := strings.CutPrefix(keys, scramPrefix)
	factors, pair, ok2 := strings.Cut(rest, "$")
	iterations, salt, ok3 := strings.Cut(factors, ":")
	stored, server, ok4 := strings.Cut(pair, ":")
	if !ok || !ok2 || !ok3 || !ok4 {
		return c, errSCRAMForm
	}
	n, err := strconv.Atoi(iterations)
	if err != nil || n < minIterations || n > maxIterations {
		return c, fmt.Errorf("the SCRAM keys have %q iterations; %d to %d are taken", iterations, minIterations, maxIterations)
	}
	b64 := base64.StdEncoding.Strict()
	raw, err := b64.DecodeString(salt)
	c.Salt, c.Iters = string(raw), n
	var err1, err2 error
	c.StoredKey, err1 = b64.DecodeString(stored)
	c.ServerKey, err2 = b64.DecodeString(server)
	if errors.Join(err, err1, err2) != nil || len(raw) < minSCRAMSalt || len(raw) > maxSCRAMSalt ||
		len(c.StoredKey) != sha256.Size || len(c.ServerKey) != sha256.Size || formatSCRAM(c) != keys {
		return c, errSCRAMForm
	}
	return c, nil
}

// SCRAM is the server's side of one login by SCRAM-SHA-256 (RFC 5802, RFC 7677).
type SCRAM struct {
	conv *scram.ServerConversation
}

// NewSCRAM returns a conversation in which find says, of a name that the client gives, the one form of all its spellings, and
// what is kept of the password, "" where nothing is. Then the client is sent a salt that never changes, made of that form
// and fake, and its proof is wrong whatever it is. Both cases take the same work.
//
// binding is the channel's data of type tls-exporter (RFC 9266), nil where the client was offered none; required tells that
// it chose a mechanism with binding.
func NewSCRAM(find func(name string) (canonical, keys string), fake, binding []byte, required bool) (*SCRAM, error) {
	server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
		canonical, keys := find(name)
		nobody := fakeKeys(fake, canonical)
		if known, err := parseSCRAM(keys); err == nil {
			return known, nil
		}
		return nobody, nil
	})
	if err != nil {
		return nil, err
	}
	channel := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: binding}
	s := &SCRAM{conv: server.NewConversationWithChannelBinding(channel)}
	if required {
		s.conv = server.NewConversationWithChannelBindingRequired(channel)
	}
	return s, nil
}

// fakeKeys are keys that no password has.
func fakeKeys(key []byte, name string) scram.StoredCredentials {
	derive := func(what string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("letterbox SCRAM " + what + "\x00" + name)) //nolint:errcheck // it never fails
		return mac.Sum(nil)
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(derive("salt")[:scramSalt]), Iters: scramIterations},
		StoredKey:  derive("stored key"), ServerKey: derive("server key"),
	}
}

// errSCRAM is a login that failed. Why is nobody's business.
var errSCRAM = errors.New("SCRAM: the client's message or proof is wrong")

// First takes the client-first-message and returns the server-first-message.
func (s *SCRAM) First(message []byte) ([]byte, error) {
	answer, err := s.conv.Step(string(message))
	if err != nil {
		return nil, errSCRAM
	}
	return []byte(answer), nil
}

// Name is who the client says that it is; Authorized is whom it wants to act for, empty for the same.
func (s *SCRAM) Name() string       { return s.conv.Username() }
func (s *SCRAM) Authorized() string { return s.conv.AuthzID() }

// Final takes the client-final-message and returns the server-final-message when the client has shown that it knows the
// password.
func (s *SCRAM) Final(message []byte) ([]byte, error) {
	answer, err := s.conv.Step(string(message))
	if err != nil || !s.conv.Valid() {
		return nil, errSCRAM
	}
	return []byte(answer), nil
}
