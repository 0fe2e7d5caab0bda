package app

import (
	"errors"
	"slices"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/pop3d"
	"example.org/letterbox/smtpd"
)

func smtpPolicy(c *config.Config) smtpd.Policy {
	return smtpd.Policy{
		MaxMessageBytes: c.SMTP.MaxMessageBytes,
		MaxRecipients:   c.SMTP.MaxRecipients,
		MaxHeaderBytes:  c.SMTP.MaxHeaderBytes,
		MaxHeaderFields: c.SMTP.MaxHeaderFields,
		MaxHops:         c.SMTP.MaxHops,
		BareNewlines:    c.SMTP.BareNewlines,
		Domains:         c.SMTP.Domains,
		IdleTimeout:     c.SMTP.IdleTimeout,
		DataTimeout:     c.SMTP.DataTimeout,
		MaxAge:          c.SMTP.MaxAge,
		LeastRate:       int64(c.SMTP.LeastRate),
		DataGrace:       c.SMTP.LeastRateAfter,
		WriteTimeout:    c.SMTP.WriteTimeout,

		HandshakeTimeout: c.TLS.HandshakeTimeout,

		VerifySenderDomain: c.SMTP.VerifySenderDomain == "on",
		ReverseDNS:         c.SMTP.ReverseDNS == "on",
		GreetingDelay:      c.SMTP.GreetingDelay,
		MaxErrors:          c.SMTP.MaxErrors,
		MaxUnknown:         c.SMTP.MaxUnknown,
		MaxCommands:        c.SMTP.MaxCommands,
		MaxWasted:          c.SMTP.MaxWasted,
		Tarpit:             c.SMTP.Tarpit,
	}
}

func pop3Policy(c *config.Config) pop3d.Policy {
	return pop3d.Policy{
		Expire:           c.Keep.ExpireAfter,
		Plaintext:        c.POP3.Plaintext,
		IdleTimeout:      c.POP3.IdleTimeout,
		AuthTimeout:      c.POP3.AuthTimeout,
		LoginTimeout:     c.POP3.LoginTimeout,
		WriteTimeout:     c.POP3.WriteTimeout,
		HandshakeTimeout: c.TLS.HandshakeTimeout,
		MaxLoginFailures: c.POP3.MaxLoginFailures,
		MaxErrors:        c.POP3.MaxErrors,
		MaxCommands:      c.POP3.MaxCommands,
		MaxCommandLength: c.POP3.MaxCommandBytes,
		LoginDelay:       c.POP3.LoginDelay,
		SCRAM:            c.POP3.SCRAM,
		NoNULs:           slices.Contains(c.POP3.Workarounds, config.WorkaroundNoNULs),
	}
}

// reload reads configuration and certificates again. A mistake in either leaves in force what was; sessions that began
// keep the policy that they began with.
func (s *process) reload() {
	s.notify.reloading()
	defer s.notify.ready()
	if s.certs != nil {
		if err := s.certs.Reload(); err != nil {
			s.log.Error().Err(err).Msg("certificate not reloaded; the one before stays")
		}
		s.warnCertificate()
	}
	next, err := s.Reload()
	if err != nil {
		for _, mistake := range mistakesOf(err) {
			s.log.Error().Str("reason", mistake).Msg("configuration not reloaded; the one before stays")
		}
		return
	}
	if names := s.Config.Changed(next); len(names) > 0 {
		s.log.Warn().Str("keys", strings.Join(names, " ")).Msg("changed keys need a restart")
	}
	s.gate.set(next.Log.Level)
	if s.smtp != nil {
		s.smtp.SetPolicy(smtpPolicy(next))
	}
	if s.pop3 != nil {
		s.pop3.SetPolicy(pop3Policy(next))
	}
	if s.store != nil {
		s.store.SetLogins(loginPolicy(next))
		s.store.SetKeep(keepPolicy(next))
		s.canary.setEvery(next.Canary.Every)
		s.reloadBackups(next)
	}
	s.limits.Set(bounds(next))
	s.proxy.Set(next.Proxy.Trusted, next.Proxy.Timeout)
	s.domains.Store(&next.SMTP.Domains)
	s.log.Info().Msg("reloaded")
}

// warnCertificate logs what is wrong with a certificate that can be served all the same.
func (s *process) warnCertificate() {
	if warning := s.certs.Warning(time.Now()); warning != "" {
		s.log.Warn().Msg(warning)
	}
}

func mistakesOf(err error) []string {
	if wrong := (*config.Error)(nil); errors.As(err, &wrong) {
		return wrong.Mistakes
	}
	return []string{err.Error()}
}
