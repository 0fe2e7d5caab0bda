package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"
)

// Step is what a round of the canary does at one time.
type Step string

// The steps, in their order. The certificate is that of either listener.
const (
	StepSMTP        Step = "smtp"        // connect to SMTP, be greeted
	StepSMTPTLS     Step = "smtp-tls"    // speak TLS there
	StepCertificate Step = "certificate" // whose dates are looked at
	StepDeliver     Step = "deliver"     // send the message
	StepPOP3        Step = "pop3"        // connect to POP3, be greeted
	StepPOP3TLS     Step = "pop3-tls"
	StepLogin       Step = "login"
	StepFetch       Step = "fetch"  // find the message, as it was sent
	StepDelete      Step = "delete" // DELE and QUIT
)

// Steps returns the closed set of steps.
func Steps() []string {
	var all []string
	for _, s := range []Step{StepSMTP, StepSMTPTLS, StepCertificate, StepDeliver, StepPOP3, StepPOP3TLS, StepLogin, StepFetch, StepDelete} {
		all = append(all, string(s))
	}
	return all
}

// StepError is a round that failed, and where.
type StepError struct {
	Step Step
	Err  error
}

func (e *StepError) Error() string { return string(e.Step) + ": " + e.Err.Error() }

// Unwrap returns what went wrong.
func (e *StepError) Unwrap() error { return e.Err }

// CertificateError is a certificate that is expired, or not valid yet.
type CertificateError struct {
	Moment time.Time // up to, or from which on, it is valid
	Early  bool
}

func (e *CertificateError) Error() string {
	at := e.Moment.UTC().Format(time.RFC3339)
	if e.Early {
		return "the certificate is valid from " + at + " on, and not yet"
	}
	return "the certificate expired at " + at
}

// Canary takes one message the whole way: in by SMTP, out by POP3, and deletes it. The options' TLS is the canary's own: of a
// certificate it looks at the dates alone, since it may sign itself, and clients come by names that only they know.
type Canary struct {
	SMTP, POP3      Options
	Name            string // for EHLO
	Address, Secret string // where the message goes, and the login for it
}

// Round does one round. It fails with a *StepError.
func (c Canary) Round(ctx context.Context) error {
	content := c.message(rand.Text())
	if err := c.send(ctx, content); err != nil {
		return err
	}
	return c.fetch(ctx, content)
}

// message is a small one, with lines that a transport may damage.
func (c Canary) message(mark string) []byte {
	now := time.Now().UTC()
	return fmt.Appendf(nil, "From: <%s>\r\nTo: <%s>\r\nSubject: canary %s\r\nDate: %s\r\nMessage-ID: <%s@canary.invalid>\r\n\r\n.%s\r\n.\r\n",
		c.Address, c.Address, mark, now.Format(time.RFC1123Z), mark, mark)
}

func (c Canary) send(ctx context.Context, content []byte) error {
	smtp, err := DialSMTP(ctx, dated(c.SMTP), c.Name, false)
	if err != nil {
		return &StepError{connecting(err, StepSMTP, StepSMTPTLS), err}
	}
	defer smtp.Close()
	if err := smtp.Send(Envelope{To: []string{c.Address}}, bytes.NewReader(content)); err != nil {
		return &StepError{StepDeliver, err}
	}
	smtp.Quit() //nolint:errcheck // the message is in
	return nil
}

func (c Canary) fetch(ctx context.Context, content []byte) error {
	pop3, err := DialPOP3(ctx, dated(c.POP3))
	if err != nil {
		return &StepError{connecting(err, StepPOP3, StepPOP3TLS), err}
	}
	defer pop3.Close()
	if err := pop3.Login(c.Address, c.Secret); err != nil {
		return &StepError{StepLogin, err}
	}
	n, err := find(pop3, content)
	if err != nil {
		return &StepError{StepFetch, err}
	}
	// With it go those that earlier rounds left.
	for i := range n {
		if err := pop3.Delete(i + 1); err != nil {
			return &StepError{StepDelete, err}
		}
	}
	if err := pop3.Quit(); err != nil {
		return &StepError{StepDelete, err}
	}
	return nil
}

// maxCanary bounds what is kept of a message that is fetched, in octets.
const maxCanary = 64 << 10

// find fetches what waits, the last first, until it has the message, and returns its number.
func find(pop3 *POP3, content []byte) (int, error) {
	messages, _, err := pop3.Stat()
	if err != nil {
		return 0, err
	}
	for n := messages; n > 0; n-- {
		got := &bounded{left: maxCanary}
		if _, err := pop3.Retrieve(n, got); err != nil {
			return 0, err
		}
		if bytes.HasSuffix(got.kept, content) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("the message that was accepted is not among the %d that wait", messages)
}

// bounded keeps what is written to it, up to a bound.
type bounded struct {
	kept []byte
	left int
}

var _ io.Writer = (*bounded)(nil)

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("the message that comes is larger than any that was sent")
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

// dated makes TLS look at the dates of the certificate and at nothing else.
func dated(o Options) Options {
	o.TLS = &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection looks at what matters here
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("no certificate")
			}
			switch leaf, now := s.PeerCertificates[0], time.Now(); {
			case now.After(leaf.NotAfter):
				return &CertificateError{Moment: leaf.NotAfter}
			case now.Before(leaf.NotBefore):
				return &CertificateError{Moment: leaf.NotBefore, Early: true}
			}
			return nil
		},
	}
	return o
}

// connecting says which step a connection failed in that did not come about.
func connecting(err error, plain, secure Step) Step {
	smtp, pop3 := (*ReplyError)(nil), (*StatusError)(nil)
	switch {
	case errors.As(err, new(*CertificateError)):
		return StepCertificate
	case errors.Is(err, ErrTLS), errors.As(err, &smtp) && smtp.Command == "STARTTLS", errors.As(err, &pop3) && pop3.Command == "STLS":
		return secure
	}
	return plain
}
