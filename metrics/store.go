package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/letterbox/store"
)

// storeSeries is one number of store.Stats.
type storeSeries struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	value  func(store.Stats) float64
	labels []string
}

// moments are left out while they are unknown: an alert on an age must not see 1970.
type momentSeries struct {
	desc  *prometheus.Desc
	value func(store.Stats) time.Time
}

// storeCollector asks the store when it is scraped.
type storeCollector struct {
	stats   func() store.Stats
	series  []storeSeries
	moments []momentSeries
}

// Store adds the series of the store that this process owns. stats is called at each scrape and must not wait for anything
// that a delivery holds. Store is called once.
func (m *Metrics) Store(stats func() store.Stats) {
	k := newMaker(m.registry)
	m.registry.MustRegister(&storeCollector{
		stats: stats, series: append(storeGauges(k), storeCounters(k)...), moments: storeMoments(k),
	})
}

// maxAccounts bounds the accounts that have series of their own.
const maxAccounts = 100

// accountCollector asks for the accounts when it is scraped.
type accountCollector struct {
	accounts         func() []store.Account
	messages, octets *prometheus.Desc
}

// Accounts adds the series of accounts: of the first 100 that f returns, and "other" for all others together. f is called at
// each scrape and must not wait for anything that a delivery holds, as stats of Store. Accounts is called once.
func (m *Metrics) Accounts(f func() []store.Account) {
	k := newMaker(m.registry)
	m.registry.MustRegister(&accountCollector{
		f, k.desc("letterbox_store_account_messages", Gauge), k.desc("letterbox_store_account_bytes", Gauge),
	})
}

// Describe sends the two descriptions.
func (c *accountCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.messages
	ch <- c.octets
}

// Collect asks once.
func (c *accountCollector) Collect(ch chan<- prometheus.Metric) {
	send := func(name string, messages, octets int64) {
		ch <- prometheus.MustNewConstMetric(c.messages, prometheus.GaugeValue, float64(messages), name)
		ch <- prometheus.MustNewConstMetric(c.octets, prometheus.GaugeValue, float64(octets), name)
	}
	all := c.accounts()
	var messages, octets int64
	for i, a := range all {
		if i < maxAccounts {
			send(a.Address, a.Messages, a.Octets)
			continue
		}
		messages, octets = messages+a.Messages, octets+a.Octets
	}
	if len(all) > maxAccounts {
		send(other, messages, octets)
	}
}

func storeGauges(k maker) []storeSeries {
	gauge := func(name string, value func(store.Stats) float64, labels ...string) storeSeries {
		return storeSeries{k.desc("letterbox_store_"+name, Gauge), prometheus.GaugeValue, value, labels}
	}
	return []storeSeries{
		gauge("messages", func(s store.Stats) float64 { return float64(s.Messages) }),
		gauge("message_bytes", func(s store.Stats) float64 { return float64(s.Octets) }),
		gauge("mismatch_messages", func(s store.Stats) float64 { return float64(s.Mismatch) }),
		gauge("lost_messages", func(s store.Stats) float64 { return float64(s.Lost) }),
		gauge("quota_used_ratio", func(s store.Stats) float64 { return s.QuotaUsed }),
		gauge("writable", func(s store.Stats) float64 { return number(s.Writable) }),
		gauge("accounts", func(s store.Stats) float64 { return float64(s.Accounts) }),
		gauge("disabled_accounts", func(s store.Stats) float64 { return float64(s.Disabled) }),
		gauge("aliases", func(s store.Stats) float64 { return float64(s.Aliases) }),
		gauge("catchalls", func(s store.Stats) float64 { return float64(s.CatchAlls) }),
		gauge("log_bytes", func(s store.Stats) float64 { return float64(s.LogBytes) }),
		gauge("log_segments", func(s store.Stats) float64 { return float64(s.Segments) }),
		gauge("index_bytes", func(s store.Stats) float64 { return float64(s.IndexBytes) }),
		gauge("history_bytes", func(s store.Stats) float64 { return float64(s.HistoryBytes) }),
		gauge("free_bytes", func(s store.Stats) float64 { return float64(s.FreeBytes) }),
		gauge("live_ratio", func(s store.Stats) float64 { return s.LiveShare }),
		gauge("index_lag_seconds", func(s store.Stats) float64 { return age(s.PendingSince) }),
		gauge("pending_records", func(s store.Stats) float64 { return float64(s.Pending) }),
		gauge("open_maildrops", func(s store.Stats) float64 { return float64(s.OpenMaildrops) }),
		gauge("password_checks", func(s store.Stats) float64 { return float64(s.HashRunning) }, "running"),
		gauge("password_checks", func(s store.Stats) float64 { return float64(s.HashWaiting) }, "waiting"),
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// age is the time since t in seconds, 0 for the zero time.
func age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(time.Since(t).Seconds(), 0)
}

func storeCounters(k maker) []storeSeries {
	counter := func(name string, value func(store.Stats) uint64) storeSeries {
		count := func(s store.Stats) float64 { return float64(value(s)) }
		return storeSeries{k.desc("letterbox_store_"+name+"_total", Counter), prometheus.CounterValue, count, nil}
	}
	return []storeSeries{
		counter("delivered_messages", func(s store.Stats) uint64 { return s.Delivered }),
		counter("deleted_messages", func(s store.Stats) uint64 { return s.Deleted }),
		counter("commit_groups", func(s store.Stats) uint64 { return s.Groups }),
		counter("commit_group_records", func(s store.Stats) uint64 { return s.GroupRecords }),
		counter("write_errors", func(s store.Stats) uint64 { return s.WriteErrors }),
		counter("backup_failures", func(s store.Stats) uint64 { return s.BackupFailures }),
		counter("history_dropped_lines", func(s store.Stats) uint64 { return s.HistoryDropped }),
		counter("takeovers", func(s store.Stats) uint64 { return s.Takeovers }),
		counter("reclaimed_segments", func(s store.Stats) uint64 { return s.Reclaimed }),
		counter("reclaimed_bytes", func(s store.Stats) uint64 { return s.ReclaimedBytes }),
	}
}

func storeMoments(k maker) []momentSeries {
	moment := func(name string, value func(store.Stats) time.Time) momentSeries {
		return momentSeries{k.desc("letterbox_store_"+name+"_timestamp_seconds", Gauge), value}
	}
	return []momentSeries{
		moment("last_delivery", func(s store.Stats) time.Time { return s.LastDelivery }),
		moment("last_drain", func(s store.Stats) time.Time { return s.LastDrain }),
		moment("oldest_unfetched_message", func(s store.Stats) time.Time { return s.Oldest }),
		moment("last_backup", func(s store.Stats) time.Time { return s.LastBackup }),
		moment("last_verify", func(s store.Stats) time.Time { return s.LastVerify }),
	}
}

// Describe sends the description of each series.
func (c *storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, s := range c.series {
		ch <- s.desc
	}
	for _, m := range c.moments {
		ch <- m.desc
	}
}

// Collect asks the store once.
func (c *storeCollector) Collect(ch chan<- prometheus.Metric) {
	stats := c.stats()
	for _, s := range c.series {
		ch <- prometheus.MustNewConstMetric(s.desc, s.kind, s.value(stats), s.labels...)
	}
	for _, m := range c.moments {
		sendTime(ch, m.desc, m.value(stats))
	}
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

// Certificates adds the expiry of each certificate. f is called at each scrape and returns the time by listener. Certificates
// is called once.
func (m *Metrics) Certificates(f func() map[string]time.Time) {
	desc := newMaker(m.registry).desc("letterbox_tls_certificate_not_after_timestamp_seconds", Gauge)
	m.registry.MustRegister(&certificateCollector{f, desc})
}

// Describe sends the one description.
func (c *certificateCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect asks once.
func (c *certificateCollector) Collect(ch chan<- prometheus.Metric) {
	for listener, t := range c.notAfter() {
		sendTime(ch, c.desc, t, listener)
	}
}
