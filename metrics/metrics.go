// Package metrics counts what the daemons and the store do, on a registry of its own, and serves it to Prometheus.
//
// The instruments are structs whose methods are the observer interfaces of smtpd and pop3d; the packages do not know each
// other. Every label comes from a closed set that the caller gives, and a value outside of it is counted as "other": no
// stranger can make a series.
package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is one process's registry and instruments.
type Metrics struct {
	registry      *prometheus.Registry
	role, version string
	smtp          *SMTP
	pop3          *POP3
}

// New returns the metrics of a process with this role (serve, store, smtpd or pop3d) and version. The labels are what the
// daemons' LabelValues return; nil means that the process does not hold that daemon, whose series are then left out.
func New(role, version string, smtpLabels, pop3Labels map[string][]string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), role: role, version: version}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(newMaker(m.registry), role, version),
	)
	both := smtpLabels
	if both == nil {
		both = pop3Labels
	}
	handshakes := newHandshakes(newMaker(registererFor(m.registry, both)))
	m.smtp = newSMTP(newMaker(registererFor(m.registry, smtpLabels)), smtpLabels, handshakes)
	m.pop3 = newPOP3(newMaker(registererFor(m.registry, pop3Labels)), pop3Labels, handshakes)
	return m
}

// registererFor returns r, or a registry that nobody reads where the daemon is not in this process.
func registererFor(r *prometheus.Registry, labels map[string][]string) prometheus.Registerer {
	if labels == nil {
		return prometheus.NewRegistry()
	}
	return r
}

// SMTP returns the instruments of the receiver. It satisfies smtpd.Observer.
func (m *Metrics) SMTP() *SMTP { return m.smtp }

// POP3 returns the instruments of the POP3 daemon. It satisfies pop3d.Observer.
func (m *Metrics) POP3() *POP3 { return m.pop3 }

func buildInfo(k maker, role, version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "letterbox_build_info",
		Help:        k.find("letterbox_build_info", Gauge).Help,
		ConstLabels: prometheus.Labels{"role": role, "version": version, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}
