package pop3d

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/rs/zerolog"
)

// stlsOffered tells whether STLS can be had now.
func (s *session) stlsOffered() bool {
	return s.srv.tls != nil && s.tls == nil && !s.listener.TLSInFront
}

// stls is RFC 2595 section 4. What a client, or someone on the way, sent behind it in clear must not be taken for part of
// the protected session, so it ends the session: to drop it would hang a client that expects an answer to it.
func (s *session) stls(request) reply {
	switch {
	case s.tls != nil || s.listener.TLSInFront:
		return rejected("command not permitted when TLS active")
	case s.srv.tls == nil:
		return rejected("TLS is not available")
	case s.in.pending():
		return reply{text: "nothing may follow STLS before its answer", bad: true, end: endProtocol}
	}
	return reply{ok: true, text: "begin TLS negotiation", then: func() reply {
		if why := s.handshake(); why != endNone {
			return over(why)
		}
		return reply{mute: true}
	}}
}

// handshake puts TLS on the connection. Reader and writer begin anew above it: nothing read in clear is left.
func (s *session) handshake() end {
	if s.srv.tls == nil {
		s.event(zerolog.ErrorLevel).Msg("implicit TLS without a certificate")
		return endHandshake
	}
	ctx, cancel := context.WithTimeout(s.context(), s.policy.HandshakeTimeout)
	defer cancel()
	// The deadline of the command before must not bind the handshake.
	err := s.conn.readUntil(time.Now().Add(s.policy.HandshakeTimeout))
	conn := tls.Server(s.conn, s.srv.tls)
	if err == nil {
		err = conn.HandshakeContext(ctx)
	}
	if err != nil {
		s.event(zerolog.DebugLevel).Err(err).Msg("TLS handshake failed")
		s.observer.Handshake(s.listener.Name, "none", "failed")
		return endHandshake
	}
	s.observer.Handshake(s.listener.Name, versionName(conn.ConnectionState().Version), "ok")
	s.tls, s.out.dst = conn, conn
	s.in = lineReader{src: conn, octets: s.in.octets}
	s.unicode = false // RFC 2595 section 4: what the client said in clear is forgotten
	return endNone
}

// versionName returns the label of a TLS version; the configuration allows no other.
func versionName(version uint16) string {
	if version == tls.VersionTLS12 {
		return "1.2"
	}
	return "1.3"
}
