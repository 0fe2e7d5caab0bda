package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func selfSigned(t *testing.T, dir, hostname string) *Store {
	t.Helper()
	s, err := SelfSigned(dir, hostname)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func raw(s *Store) []byte { return s.current.Load().Leaf.Raw }

// A client that trusts the certificate reaches the server by each of its names, and checks them.
func TestSelfSignedIsTrusted(t *testing.T) {
	s := selfSigned(t, t.TempDir(), "mail.home.example")
	pool := x509.NewCertPool()
	pool.AddCert(s.current.Load().Leaf)
	for _, name := range []string{"mail.home.example", "localhost", "127.0.0.1", "::1"} {
		if _, err := shake(t, s, &tls.Config{ServerName: name, RootCAs: pool}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := shake(t, s, &tls.Config{ServerName: "other.example", RootCAs: pool}); err == nil {
		t.Error("a name that it does not have was taken")
	}
	if left := time.Until(s.NotAfter()); left < 9*365*24*time.Hour || s.Warning(time.Now()) != "" {
		t.Errorf("valid for %s, %q", left, s.Warning(time.Now()))
	}
}

func TestSelfSignedIsKept(t *testing.T) {
	dir := t.TempDir()
	first := selfSigned(t, dir, "mail.example")
	if again := selfSigned(t, dir, "mail.example"); !bytes.Equal(raw(again), raw(first)) {
		t.Error("the second start made another")
	}
	for _, name := range []string{"self-signed.crt", "self-signed.key"} {
		info, err := os.Stat(filepath.Join(dir, "tls", name))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, "tls"))
	if err != nil || len(left) != 2 {
		t.Errorf("temporary files stay behind: %v, %v", left, err)
	}
	if other := selfSigned(t, dir, "other.example"); bytes.Equal(raw(other), raw(first)) {
		t.Error("another hostname has the old certificate")
	}
}

// What a crash between the two files or a bad disk leaves is made anew.
func TestSelfSignedHeals(t *testing.T) {
	for name, harm := range map[string]func(cert, key string) error{
		"no key":      func(_, key string) error { return os.Remove(key) },
		"empty":       func(cert, _ string) error { return os.Truncate(cert, 0) },
		"another key": func(_, key string) error { _, other := valid(t, "x.example"); return os.Rename(other, key) },
	} {
		dir := t.TempDir()
		s := selfSigned(t, dir, "mail.example")
		if err := harm(s.certFile, s.keyFile); err != nil {
			t.Fatal(err)
		}
		if got := shown(t, selfSigned(t, dir, "mail.example"), ""); got != "mail.example" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestSelfSignedIsRenewed(t *testing.T) {
	s := selfSigned(t, t.TempDir(), "mail.example")
	for at, want := range map[time.Duration]bool{
		0: true, -48 * time.Hour: false,
		(selfSignedYears*365 - 40) * 24 * time.Hour: true, (selfSignedYears*365 - 20) * 24 * time.Hour: false,
	} {
		if got := s.serves("mail.example", time.Now().Add(at)); got != want {
			t.Errorf("after %s: serves %v", at, got)
		}
	}
}

func TestSelfSignedHostnames(t *testing.T) {
	long := strings.Repeat("label.", 12) + "example"
	for _, hostname := range []string{"", "localhost", "192.0.2.1", "2001:db8::1", long} {
		dir := t.TempDir()
		first := selfSigned(t, dir, hostname)
		if again := selfSigned(t, dir, hostname); !bytes.Equal(raw(again), raw(first)) {
			t.Errorf("%q: the second start made another", hostname)
		}
	}
}

func TestSelfSignedSentence(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := SelfSigned(dir, "mail.example"); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
}
