package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// sessions are the instruments that both daemons have.
type sessions struct {
	daemon     string
	listeners  *listeners
	results    values
	reasons    values
	opened     *prometheus.CounterVec
	current    *prometheus.GaugeVec
	ended      *prometheus.CounterVec
	took       prometheus.Histogram
	in, out    *prometheus.CounterVec
	handshakes *prometheus.CounterVec
	versions   values
	outcomes   values
}

func newSessions(k maker, daemon string, labels map[string][]string, handshakes *prometheus.CounterVec) *sessions {
	prefix := "letterbox_" + daemon + "_"
	return &sessions{
		daemon:    daemon,
		listeners: &listeners{},
		results:   closed(labels["connection"]...),
		reasons:   closed(labels["end"]...),
		opened:    k.counterVec(prefix+"connections_total", "listener", "result"),
		current:   k.gaugeVec(prefix+"sessions", "listener"),
		ended:     k.counterVec(prefix+"session_ends_total", "listener", "reason"),
		took:      k.histogram(prefix+"session_duration_seconds", prometheus.ExponentialBuckets(0.01, 4, 9)), // 10 ms to 11 minutes
		in:        k.counterVec(prefix+"received_bytes_total", "listener"),
		out:       k.counterVec(prefix+"sent_bytes_total", "listener"),

		handshakes: handshakes,
		versions:   closed("1.2", "1.3", "none"),
		outcomes:   closed("ok", "failed"),
	}
}

// newHandshakes returns the one instrument that the daemons share.
func newHandshakes(k maker) *prometheus.CounterVec {
	return k.counterVec("letterbox_tls_handshakes_total", "daemon", "listener", "version", "result")
}

// Listen makes the series of a listener at zero, before the first connection comes.
func (s *sessions) Listen(listener string) {
	name := s.listeners.of(listener)
	for result := range s.results {
		s.opened.WithLabelValues(name, result)
	}
	for reason := range s.reasons {
		s.ended.WithLabelValues(name, reason)
	}
	s.current.WithLabelValues(name)
	s.in.WithLabelValues(name)
	s.out.WithLabelValues(name)
	for _, version := range []string{"1.2", "1.3"} {
		s.handshakes.WithLabelValues(s.daemon, name, version, "ok")
	}
	s.handshakes.WithLabelValues(s.daemon, name, "none", "failed")
}

// Connection counts a connection and what admission decided about it.
func (s *sessions) Connection(listener, result string) {
	s.opened.WithLabelValues(s.listeners.of(listener), s.results.of(result)).Inc()
}

// SessionStart counts a session as open.
func (s *sessions) SessionStart(listener string) {
	s.current.WithLabelValues(s.listeners.of(listener)).Inc()
}

// SessionEnd counts a session as over. The octets are those inside TLS.
func (s *sessions) SessionEnd(listener, reason string, took time.Duration, in, out int64) {
	name := s.listeners.of(listener)
	s.current.WithLabelValues(name).Dec()
	s.ended.WithLabelValues(name, s.reasons.of(reason)).Inc()
	s.took.Observe(took.Seconds())
	s.in.WithLabelValues(name).Add(float64(max(in, 0)))
	s.out.WithLabelValues(name).Add(float64(max(out, 0)))
}

// Handshake counts a TLS handshake that is over.
func (s *sessions) Handshake(listener, version, result string) {
	s.handshakes.WithLabelValues(s.daemon, s.listeners.of(listener), s.versions.of(version), s.outcomes.of(result)).Inc()
}
