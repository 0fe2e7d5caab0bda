package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	selfSignedYears = 10
	// renewBefore is how long before its end a self-signed certificate is made anew.
	renewBefore = 30 * 24 * time.Hour
	// maxCommonName is ub-common-name of RFC 5280 appendix A.
	maxCommonName = 64
)

// SelfSigned returns a certificate of our own for hostname, localhost, 127.0.0.1 and ::1. It is made once, for ten years,
// and kept in dir/tls, so that a client that was told to trust it asks no second time. It is made anew when the hostname is
// another, when it is about to expire, and when its files are damaged. The caller holds the lock of dir.
func SelfSigned(dir, hostname string) (*Store, error) {
	folder := filepath.Join(dir, "tls")
	s := &Store{
		certFile: filepath.Join(folder, "self-signed.crt"),
		keyFile:  filepath.Join(folder, "self-signed.key"),
	}
	if s.Reload() == nil && s.serves(hostname, time.Now()) {
		return s, nil
	}
	if err := s.makeFiles(folder, hostname); err != nil {
		return nil, fmt.Errorf("can't make a self-signed certificate in %s: %w", folder, err)
	}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// serves tells whether the certificate in use is for hostname and stays valid for a while.
func (s *Store) serves(hostname string, now time.Time) bool {
	leaf := s.current.Load().Leaf
	if hostname != "" && leaf.VerifyHostname(hostname) != nil {
		return false
	}
	return now.After(leaf.NotBefore) && now.Add(renewBefore).Before(leaf.NotAfter)
}

func (s *Store) makeFiles(folder, hostname string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := selfSignedTemplate(hostname, time.Now())
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A crash between the two leaves a pair that does not match, and the next start makes both anew.
	if err := writePEM(s.keyFile, "PRIVATE KEY", keyDER); err != nil {
		return err
	}
	if err := writePEM(s.certFile, "CERTIFICATE", der); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(folder))
}

func selfSignedTemplate(hostname string, now time.Time) *x509.Certificate {
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "letterbox"},
		NotBefore:             now.Add(-24 * time.Hour), // clients' clocks differ
		NotAfter:              now.AddDate(selfSignedYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if hostname != "" && len(hostname) <= maxCommonName {
		t.Subject.CommonName = hostname
	}
	if ip := net.ParseIP(hostname); ip != nil {
		t.IPAddresses = append(t.IPAddresses, ip)
	} else if hostname != "" && hostname != "localhost" {
		t.DNSNames = append(t.DNSNames, hostname)
	}
	return t
}

func writePEM(path, kind string, der []byte) error {
	return replaceFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// replaceFile writes a file that is there whole or not at all: a temporary name, fsync, rename, fsync of the folder.
func replaceFile(path string, content []byte, mode fs.FileMode) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Publish writes certificate and key into one file at path, for processes of the group that owns its folder or its writer.
// The file is replaced as a whole.
func (s *Store) Publish(path string) error {
	var both []byte
	for _, name := range []string{s.certFile, s.keyFile} {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		both = append(both, content...)
	}
	if err := replaceFile(path, both, 0o640); err != nil {
		return fmt.Errorf("can't leave the certificate for the daemons: %w", err)
	}
	return nil
}
