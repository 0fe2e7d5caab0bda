package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair writes a certificate of that time and its key, and returns their paths.
func pair(t *testing.T, name string, notBefore, notAfter time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := selfSignedTemplate(name, notBefore)
	template.NotBefore, template.NotAfter = notBefore, notAfter
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return write(t, dir, "cert.pem", "CERTIFICATE", der), write(t, dir, "key.pem", "EC PRIVATE KEY", keyDER)
}

func write(t *testing.T, dir, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func valid(t *testing.T, name string) (cert, key string) {
	return pair(t, name, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

// shake makes one handshake with s and returns what the client saw.
func shake(t *testing.T, s *Store, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer ours.Close()
		if server := tls.Server(ours, s.Config()); server.Handshake() == nil {
			server.Write([]byte("x"))
		}
	}()
	c := tls.Client(theirs, client)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := c.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	_, err = io.ReadFull(c, make([]byte, 1)) // TLS 1.3: tickets would come before this
	return c.ConnectionState(), err
}

// anyName is a client that takes every certificate and says which name it wants.
func anyName(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true}
}

func shown(t *testing.T, s *Store, name string) string {
	t.Helper()
	state, err := shake(t, s, anyName(name))
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0].Subject.CommonName
}

// RFC 6066 section 3: an unknown name or none is no reason to hang up.
func TestEveryNameGetsTheCertificate(t *testing.T) {
	s, err := Load(valid(t, "mail.example"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mail.example", "unknown.example", ""} {
		if got := shown(t, s, name); got != "mail.example" {
			t.Errorf("%q was shown %s", name, got)
		}
	}
}

func TestOldProtocolsAreRefused(t *testing.T) {
	s, err := Load(valid(t, "mail.example"))
	if err != nil {
		t.Fatal(err)
	}
	client := anyName("mail.example")
	client.MinVersion, client.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if state, err := shake(t, s, client); err == nil {
		t.Errorf("version %x was taken", state.Version)
	}
	client.MinVersion, client.MaxVersion = 0, tls.VersionTLS12
	if state, err := shake(t, s, client); err != nil || state.Version != tls.VersionTLS12 {
		t.Errorf("TLS 1.2: %x, %v", state.Version, err)
	}
}

// With an RSA key a handshake without forward secrecy would be possible.
func TestForwardSecrecy(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := selfSignedTemplate("mail.example", time.Now())
	template.KeyUsage |= x509.KeyUsageKeyEncipherment
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := Load(write(t, dir, "cert.pem", "CERTIFICATE", der),
		write(t, dir, "key.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)))
	if err != nil {
		t.Fatal(err)
	}
	client := anyName("mail.example")
	client.MaxVersion, client.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	if state, err := shake(t, s, client); err == nil {
		t.Errorf("cipher %x was taken", state.CipherSuite)
	}
	client.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	if _, err := shake(t, s, client); err != nil {
		t.Errorf("with forward secrecy: %v", err)
	}
}

// cache remembers whether it was given a ticket.
type cache struct{ put bool }

func (c *cache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c *cache) Put(_ string, s *tls.ClientSessionState)    { c.put = c.put || s != nil }

func TestNoSessionTickets(t *testing.T) {
	s, err := Load(valid(t, "mail.example"))
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var tickets cache
		client := anyName("mail.example")
		client.MaxVersion, client.ClientSessionCache = version, &tickets
		if _, err := shake(t, s, client); err != nil || tickets.put {
			t.Errorf("version %x: ticket %v, %v", version, tickets.put, err)
		}
	}
}

func TestReload(t *testing.T) {
	cert, key := valid(t, "one.example")
	s, err := Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	config := s.Config() // also a configuration that was handed out before sees the new one
	if err := os.WriteFile(cert, []byte("half of a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("a damaged file was taken")
	}
	if got := shown(t, s, ""); got != "one.example" {
		t.Errorf("after a failed reload: %s", got)
	}
	cert2, key2 := pair(t, "two.example", time.Now(), time.Now().Add(2*time.Hour))
	for from, to := range map[string]string{cert2: cert, key2: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	got, err := config.GetCertificate(nil)
	if err != nil || got.Leaf.Subject.CommonName != "two.example" || !s.NotAfter().Equal(got.Leaf.NotAfter) {
		t.Errorf("after the reload: %s until %s, %v", got.Leaf.Subject.CommonName, s.NotAfter(), err)
	}
}

func TestWarning(t *testing.T) {
	now := time.Now()
	s, err := Load(pair(t, "x.example", now.Add(-time.Hour), now.Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]string{0: "", 2 * time.Hour: "expired on", -2 * time.Hour: "is not valid before"} {
		got := s.Warning(now.Add(at))
		if !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("after %s: %q", at, got)
		}
	}
	// A certificate that is out of date still serves: mail that comes by opportunistic TLS does not look.
	if _, err := Load(pair(t, "x.example", now.Add(-2*time.Hour), now.Add(-time.Hour))); err != nil {
		t.Error(err)
	}
}

// Every mistake is one sentence that names the file.
func TestMistakes(t *testing.T) {
	cert, key := valid(t, "mail.example")
	_, otherKey := valid(t, "other.example")
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ cert, key, file, want string }{
		"no certificate":      {dir + "/none", key, dir + "/none", "does not exist"},
		"no key":              {cert, dir + "/none", dir + "/none", "does not exist"},
		"a folder":            {dir, key, dir, "is no file"},
		"too large":           {big, key, big, "no PEM file"},
		"text":                {text, key, text, "no certificate in PEM"},
		"text as key":         {cert, text, text, "no private key in PEM"},
		"swapped":             {key, cert, key, "swapped"},
		"two certificates":    {cert, cert, cert, "swapped"},
		"another key":         {cert, otherKey, otherKey, "does not belong"},
		"damaged certificate": {write(t, dir, "c", "CERTIFICATE", []byte("x")), key, dir + "/c", "damaged"},
		"damaged key":         {cert, write(t, dir, "k", "PRIVATE KEY", []byte("x")), dir + "/k", "damaged"},
		"passphrase":          {cert, write(t, dir, "p", "ENCRYPTED PRIVATE KEY", []byte("x")), dir + "/p", "passphrase"},
	} {
		_, err := Load(c.cert, c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want %q and %s", name, err, c.want, c.file)
		}
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	cert, key := valid(t, "mail.example")
	if err := os.Chmod(key, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(cert, key); err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "uid") {
		t.Errorf("%v", err)
	}
}
