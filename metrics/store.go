package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/letterbox/store"
)

// storeSeries is one number of store.Stats.
type storeSeries struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(store.Stats) float64
}

// storeCollector asks the store when it is scraped.
type storeCollector struct {
	stats  func() store.Stats
	series []storeSeries
	// delivered and drained are left out while they are unknown: an alert on their age must not see 1970.
	delivered, drained *prometheus.Desc
}

// Store adds the series of the store that this process owns. stats is called at each scrape and must not wait for anything
// that a delivery holds. Store is called once.
func (m *Metrics) Store(stats func() store.Stats) {
	m.registry.MustRegister(&storeCollector{
		stats:     stats,
		series:    append(storeGauges(), storeCounters()...),
		delivered: storeDesc("last_delivery_timestamp_seconds", "When a message was last accepted; missing until one is."),
		drained:   storeDesc("last_drain_timestamp_seconds", "When messages were last deleted by QUIT; missing until some are."),
	})
}

func storeDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("letterbox_store_"+name, help, nil, nil)
}

func storeGauges() []storeSeries {
	gauge := func(name, help string, value func(store.Stats) float64) storeSeries {
		return storeSeries{storeDesc(name, help), prometheus.GaugeValue, value}
	}
	return []storeSeries{
		gauge("messages", "Messages that wait, counted once for each maildrop.", func(s store.Stats) float64 { return float64(s.Messages) }),
		gauge("message_bytes", "Octets of the messages that wait.", func(s store.Stats) float64 { return float64(s.Octets) }),
		gauge("accounts", "Accounts.", func(s store.Stats) float64 { return float64(s.Accounts) }),
		gauge("disabled_accounts", "Accounts that are disabled.", func(s store.Stats) float64 { return float64(s.Disabled) }),
		gauge("aliases", "Aliases.", func(s store.Stats) float64 { return float64(s.Aliases) }),
		gauge("catchalls", "Catch-alls.", func(s store.Stats) float64 { return float64(s.CatchAlls) }),
		gauge("log_bytes", "Size of the log on disk.", func(s store.Stats) float64 { return float64(s.LogBytes) }),
		gauge("log_segments", "Files of the log.", func(s store.Stats) float64 { return float64(s.Segments) }),
		gauge("index_bytes", "Size of the index on disk.", func(s store.Stats) float64 { return float64(s.IndexBytes) }),
		gauge("free_bytes", "Room on the store's file system.", func(s store.Stats) float64 { return float64(s.FreeBytes) }),
		gauge("pending_records", "Records that are durable and not yet in the index.", func(s store.Stats) float64 { return float64(s.Pending) }),
		gauge("open_maildrops", "Maildrops that are locked now.", func(s store.Stats) float64 { return float64(s.OpenMaildrops) }),
	}
}

func storeCounters() []storeSeries {
	counter := func(name, help string, value func(store.Stats) float64) storeSeries {
		return storeSeries{storeDesc(name, help), prometheus.CounterValue, value}
	}
	return []storeSeries{
		counter("delivered_messages_total", "Messages delivered since the store was made, counted once for each maildrop.",
			func(s store.Stats) float64 { return float64(s.Delivered) }),
		counter("deleted_messages_total", "Messages deleted by QUIT since the store was made.",
			func(s store.Stats) float64 { return float64(s.Deleted) }),
		counter("commit_groups_total", "Groups of records that were made durable together.",
			func(s store.Stats) float64 { return float64(s.Groups) }),
		counter("commit_group_records_total", "Records in these groups.",
			func(s store.Stats) float64 { return float64(s.GroupRecords) }),
		counter("sync_seconds_total", "Time spent in fdatasync of the log.",
			func(s store.Stats) float64 { return s.SyncSeconds }),
		counter("write_errors_total", "Writes and syncs that failed.",
			func(s store.Stats) float64 { return float64(s.WriteErrors) }),
	}
}

// Describe sends the description of each series.
func (c *storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, s := range c.series {
		ch <- s.desc
	}
	ch <- c.delivered
	ch <- c.drained
}

// Collect asks the store once.
func (c *storeCollector) Collect(ch chan<- prometheus.Metric) {
	stats := c.stats()
	for _, s := range c.series {
		ch <- prometheus.MustNewConstMetric(s.desc, s.kind, s.value(stats))
	}
	sendTime(ch, c.delivered, stats.LastDelivery)
	sendTime(ch, c.drained, stats.LastDrain)
}

// sendTime sends t as Unix seconds, and nothing for the zero time.
func sendTime(ch chan<- prometheus.Metric, desc *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(t.UnixMilli())/1000, labels...)
	}
}

// certificateCollector asks for the certificates when it is scraped.
type certificateCollector struct {
	notAfter func() map[string]time.Time
	desc     *prometheus.Desc
}

// Certificates adds the expiry of each certificate. f is called at each scrape and returns the time by a name that the
// configuration gives. Certificates is called once.
func (m *Metrics) Certificates(f func() map[string]time.Time) {
	m.registry.MustRegister(&certificateCollector{notAfter: f, desc: prometheus.NewDesc(
		"letterbox_tls_certificate_not_after_timestamp_seconds", "When the certificate expires.", []string{"name"}, nil)})
}

// Describe sends the one description.
func (c *certificateCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect asks once.
func (c *certificateCollector) Collect(ch chan<- prometheus.Metric) {
	for name, t := range c.notAfter() {
		sendTime(ch, c.desc, t, name)
	}
}
