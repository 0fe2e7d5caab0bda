package app

import (
	"context"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/certs"
)

// certificateRetry is how long a daemon waits between two looks for the owner's copy of its certificate.
const certificateRetry = 100 * time.Millisecond

// openCerts reads the certificate that the listeners show: the operator's, else one that we make ourselves where the data
// folder is ours, else the copy that its owner leaves.
func (s *process) openCerts(ctx context.Context) (err error) {
	switch {
	case s.Config.TLS.Cert != "":
		s.certs, err = certs.Load(s.Config.TLS.Cert, s.Config.TLS.Key)
	case s.store != nil:
		s.certs, err = certs.SelfSigned(s.Config.Data, s.Config.Hostname)
	default:
		s.certs, err = s.awaitCertificate(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &InputError{err.Error(), err}
	}
	s.warnCertificate()
	s.metrics.Certificates(s.expiries)
	return nil
}

// expiries returns when the certificate of each listener expires. One that shows none is left out.
func (s *process) expiries() map[string]time.Time {
	at := map[string]time.Time{}
	for _, l := range wanted(s.Config, s.Role) {
		if l.name != metricsName && !l.address.TLSInFront {
			at[l.name] = s.certs.NotAfter()
		}
	}
	return at
}

// awaitCertificate waits until the owner of the store has left its copy: it may start later than we.
func (s *process) awaitCertificate(ctx context.Context) (*certs.Store, error) {
	path := certificateFile(s.run)
	tick := time.NewTicker(certificateRetry)
	defer tick.Stop()
	for waiting := false; ; waiting = true {
		store, err := certs.Load(path, path)
		if err == nil {
			return store, nil
		}
		if !waiting {
			s.log.Warn().Str("reason", err.Error()).Msg("waiting for the certificate that the store's process makes")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// publishCertificate leaves a copy of the self-signed certificate and its key for the daemons, which can't look into the
// data folder. A certificate of the operator's they read where it is.
func (s *process) publishCertificate(context.Context) error {
	if s.Config.TLS.Cert != "" {
		return nil
	}
	own, err := certs.SelfSigned(s.Config.Data, s.Config.Hostname)
	if err == nil {
		err = own.Publish(certificateFile(s.run))
	}
	if err != nil {
		return &InputError{err.Error(), err}
	}
	return nil
}
