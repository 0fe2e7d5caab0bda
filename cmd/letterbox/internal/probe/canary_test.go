package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// canaryTo is a round whose options have these securities.
func canaryTo(smtp, pop3 Options, security Security) Canary {
	smtp.Security = security
	return Canary{SMTP: smtp, POP3: pop3, Name: "me.example", Address: "a@canary.invalid", Secret: "s"}
}

// TestCanarySteps says of each place where a server may fail which step that is.
func TestCanarySteps(t *testing.T) {
	const (
		hello  = "220 ready\nC: EHLO me.example\n250 hello\n"
		login  = "+OK\nC: USER a@canary.invalid\n+OK\nC: PASS s\n+OK\n"
		nobody = ""
	)
	for _, test := range []struct {
		name, smtp string
		security   Security
		pop3       string
		want       Step
		text       string
	}{
		{"refused greeting", "421 busy\n", Clear, nobody, StepSMTP, "greeting: 421 busy"},
		{"no STARTTLS", hello, StartTLS, nobody, StepSMTPTLS, "it does not offer STARTTLS"},
		{"STARTTLS refused", "220 ready\nC: EHLO me.example\n250-hello\n250 STARTTLS\nC: STARTTLS\n454 no\n", StartTLS, nobody, StepSMTPTLS, "STARTTLS: 454 no"},
		{"no TLS behind it", "220 ready\nC: EHLO me.example\n250-hello\n250 STARTTLS\nC: STARTTLS\n220 go\nwhat?\n", StartTLS, nobody, StepSMTPTLS, "TLS"},
		{"unknown recipient", hello + "C: MAIL FROM:<>\n250 ok\nC: RCPT TO:<a@canary.invalid>\n550 no\nC: RSET\n250 ok\n", Clear, nobody, StepDeliver, "RCPT: 550 no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantStep(t, canaryTo(scripted(t, test.smtp), Options{}, test.security), test.want, test.text)
		})
	}
	for _, test := range []struct {
		name, pop3 string
		want       Step
		text       string
	}{
		{"refused greeting", "-ERR busy\n", StepPOP3, "greeting: -ERR busy"},
		{"refused name", "+OK\nC: USER a@canary.invalid\n-ERR no\n", StepLogin, "USER: -ERR no"},
		{"refused secret", "+OK\nC: USER a@canary.invalid\n+OK\nC: PASS s\n-ERR [SYS/TEMP] no\n", StepLogin, "PASS: -ERR [SYS/TEMP] no"},
		{"nothing there", login + "C: STAT\n+OK 0 0\n", StepFetch, "is not among the 0 that wait"},
		{"another message", login + "C: STAT\n+OK 1 3\nC: RETR 1\n+OK\nx\n.\n", StepFetch, "is not among the 1 that wait"},
		{"no message", login + "C: STAT\n+OK 1 3\nC: RETR 1\n-ERR no\n", StepFetch, "RETR: -ERR no"},
	} {
		t.Run("POP3: "+test.name, func(t *testing.T) {
			c := canaryTo(Options{}, scripted(t, test.pop3), Clear)
			stepIs(t, c.fetch(t.Context(), []byte("content\r\n")), test.want, test.text)
		})
	}
	for name, end := range map[string]string{"DELE": "-ERR no\n", "QUIT": "+OK\nC: QUIT\n-ERR [SYS/TEMP] some deleted messages not removed\n"} {
		t.Run("POP3: "+name, func(t *testing.T) {
			c := canaryTo(Options{}, scripted(t, login+"C: STAT\n+OK 1 9\nC: RETR 1\n+OK\nX: y\ncontent\n.\nC: DELE 1\n"+end), Clear)
			stepIs(t, c.fetch(t.Context(), []byte("content\r\n")), StepDelete, name+": -ERR")
		})
	}
}

func wantStep(t *testing.T, c Canary, want Step, text string) {
	t.Helper()
	stepIs(t, c.Round(t.Context()), want, text)
}

func stepIs(t *testing.T, err error, want Step, text string) {
	t.Helper()
	failed := (*StepError)(nil)
	if !errors.As(err, &failed) || failed.Step != want || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want a failure at %s with %q", err, want, text)
	}
}

// TestCanaryDates shows that a certificate that signs itself passes, of any name, and one beside its dates does not.
func TestCanaryDates(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name       string
		begin, end time.Time
		want       Step
	}{
		{"valid", now.Add(-time.Hour), now.Add(time.Hour), StepPOP3}, // it goes on, and nobody greets
		{"expired", now.Add(-2 * time.Hour), now.Add(-time.Hour), StepCertificate},
		{"not yet", now.Add(time.Hour), now.Add(2 * time.Hour), StepCertificate},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t, test.begin, test.end)}})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if c, err := l.Accept(); err == nil {
					c.(*tls.Conn).Handshake()
					c.Close()
				}
			}()
			defer func() {
				l.Close()
				<-done
			}()
			c := Canary{POP3: Options{Target: l.Addr().String(), Security: Implicit, Timeout: 20 * time.Second}}
			stepIs(t, c.fetch(t.Context(), nil), test.want, "")
		})
	}
}

func selfSigned(t *testing.T, begin, end time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"another.example"}, NotBefore: begin, NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestCanaryNobody: a listener that is gone is a step of its own.
func TestCanaryNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := Options{Target: l.Addr().String(), Timeout: 20 * time.Second}
	l.Close()
	wantStep(t, canaryTo(gone, gone, StartTLS), StepSMTP, "refused")
	stepIs(t, canaryTo(gone, gone, StartTLS).fetch(t.Context(), nil), StepPOP3, "refused")
}
