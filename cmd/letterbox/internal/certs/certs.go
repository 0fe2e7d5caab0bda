// Package certs holds the certificate that the listeners show, from files or made by itself.
package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

// maxFile bounds what is read of a file, in octets.
const maxFile = 1 << 20

// Store holds one certificate with its key. Its methods may be called by any number of goroutines.
type Store struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// Load reads a certificate (with those of its issuers behind it) and its key, both PEM. The error is one sentence that
// names the file. A certificate that is out of date is no error: Warning tells.
func Load(cert, key string) (*Store, error) {
	s := &Store{certFile: cert, keyFile: key}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the files again. On error the certificate in use stays; handshakes under way keep theirs.
func (s *Store) Reload() error {
	pair, err := readPair(s.certFile, s.keyFile)
	if err != nil {
		return err
	}
	s.current.Store(pair)
	return nil
}

// Config returns the configuration of a server: TLS 1.2 at least, and this certificate for every name, also an unknown one
// or none (RFC 6066 section 3 leaves that to us, and a mail client knows us by many names). Go's own choice of ciphers has
// forward secrecy in all; session tickets are off, because some senders fail with them on port 25 and do not say so.
func (s *Store) Config() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.current.Load(), nil
		},
	}
}

// NotAfter is when the certificate expires.
func (s *Store) NotAfter() time.Time { return s.current.Load().Leaf.NotAfter }

// Warning is a sentence about a certificate that clients may refuse at the time now, else empty.
func (s *Store) Warning(now time.Time) string {
	leaf := s.current.Load().Leaf
	const day = "2 January 2006"
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("the certificate %s expired on %s", s.certFile, leaf.NotAfter.Format(day))
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("the certificate %s is not valid before %s", s.certFile, leaf.NotBefore.Format(day))
	}
	return ""
}

func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	certPEM, err := readFile("certificate", certFile)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile("key", keyFile)
	if err != nil {
		return nil, err
	}
	if err := checkCertificate(certFile, certPEM); err != nil {
		return nil, err
	}
	if err := checkKey(keyFile, keyPEM); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the key %s does not belong to the certificate %s", keyFile, certFile)
	}
	return &pair, nil
}

func readFile(what, path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the %s %s does not exist", what, path)
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("the %s %s is no file", what, path)
	case err == nil && info.Size() > maxFile:
		return nil, fmt.Errorf("the %s %s has %d octets: that is no PEM file", what, path, info.Size())
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("the %s %s can't be read by the user that letterbox runs as (uid %d)", what, path, os.Geteuid())
	}
	if err != nil {
		return nil, fmt.Errorf("the %s can't be read: %w", what, err)
	}
	return content, nil
}

// checkCertificate finds what is wrong with a certificate's file, in words that are clearer than those of crypto/tls.
func checkCertificate(path string, content []byte) error {
	seenKey := false
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if isKey(block) {
			seenKey = true
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("the certificate %s is damaged", path)
		}
		return nil
	}
	if seenKey {
		return fmt.Errorf("the certificate %s holds a private key and no certificate: are the two files swapped?", path)
	}
	return fmt.Errorf("the certificate %s holds no certificate in PEM form", path)
}

// checkKey does the same for a key's file.
func checkKey(path string, content []byte) error {
	seenCertificate := false
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["Proc-Type"] == "4,ENCRYPTED":
			return fmt.Errorf("the key %s is protected by a passphrase: letterbox needs it without", path)
		case isKey(block):
			if !parses(block.Bytes) {
				return fmt.Errorf("the key %s is damaged", path)
			}
			return nil
		case block.Type == "CERTIFICATE":
			seenCertificate = true
		}
	}
	if seenCertificate {
		return fmt.Errorf("the key %s holds a certificate and no private key: are the two files swapped?", path)
	}
	return fmt.Errorf("the key %s holds no private key in PEM form", path)
}

func isKey(b *pem.Block) bool { return bytes.HasSuffix([]byte(b.Type), []byte("PRIVATE KEY")) }

// parses tells whether der is a private key in one of the forms that crypto/tls reads.
func parses(der []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return true
	}
	if _, err := x509.ParseECPrivateKey(der); err == nil {
		return true
	}
	_, err := x509.ParsePKCS1PrivateKey(der)
	return err == nil
}
