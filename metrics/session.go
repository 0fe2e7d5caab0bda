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

func newSessions(r prometheus.Registerer, daemon string, labels map[string][]string, handshakes *prometheus.CounterVec) *sessions {
	prefix := "letterbox_" + daemon + "_"
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	}
	s := &sessions{
		daemon:    daemon,
		listeners: &listeners{},
		results:   closed(labels["connection"]...),
		reasons:   closed(labels["end"]...),
		opened:    vec("connections_total", "Connections by listener and by what admission decided.", "listener", "result"),
		current: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "sessions", Help: "Sessions that are open now."}, []string{"listener"}),
		ended: vec("session_ends_total", "Sessions that ended, by listener and reason.", "listener", "reason"),
		took: newHistogram(prefix+"session_duration_seconds", "Time from a session's greeting to its end.",
			prometheus.ExponentialBuckets(0.01, 4, 9)), // 10 ms to 11 minutes
		in:         vec("received_bytes_total", "Octets that clients sent, inside TLS.", "listener"),
		out:        vec("sent_bytes_total", "Octets that clients were sent, inside TLS.", "listener"),
		handshakes: handshakes,
		versions:   closed("1.2", "1.3", "none"),
		outcomes:   closed("ok", "failed"),
	}
	r.MustRegister(s.opened, s.current, s.ended, s.took, s.in, s.out)
	return s
}

// newHandshakes returns the one instrument that the daemons share.
func newHandshakes() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "letterbox_tls_handshakes_total",
		Help: "TLS handshakes by daemon, listener, version (none where it failed before one was agreed) and result.",
	}, []string{"daemon", "listener", "version", "result"})
}

// newHistogram returns a histogram that is scraped in classic or in native form, as the scraper asks.
func newHistogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	})
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
