package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// canaryTable are the instruments of letterbox's own look whether mail flows.
func canaryTable() []Instrument {
	return []Instrument{
		{Name: "letterbox_canary_rounds_total", Kind: Counter, Unit: Number, Part: Owner,
			Help: "Rounds of the canary: a message of letterbox's own, in by SMTP, out by POP3, deleted.", Row: Flow, Panel: "Rounds of the canary"},
		{Name: "letterbox_canary_failures_total", Kind: Counter, Unit: Number, Part: Owner, Labels: []string{"step"},
			Help: "Rounds that failed, by the step that did.", Row: Flow, Panel: "The canary's failures", By: "step"},
		{Name: "letterbox_canary_failed_rounds", Kind: Gauge, Unit: Number, Part: Owner,
			Help: "Rounds that failed since the last one that did not; 0 while mail flows."},
		{Name: "letterbox_canary_round_seconds", Kind: Histogram, Unit: Seconds, Part: Owner,
			Help: "Time of a whole round.", Row: Flow, Panel: "Time of the canary's rounds", Warn: 2, Bad: 10},
		{Name: "letterbox_canary_last_success_timestamp_seconds", Kind: Gauge, Unit: Moment, Part: Owner, Optional: true,
			Help: "When a round last went well; missing until one does."},
	}
}

// Canary are the instruments of the canary, which is counted nowhere else.
type Canary struct {
	rounds   prometheus.Counter
	failures counters
	failed   prometheus.Gauge
	took     prometheus.Histogram
	desc     *prometheus.Desc
	last     atomic.Int64 // Unix nanoseconds; 0 for never
}

// Canary adds the series of the canary. steps is the closed set of what can fail. Canary is called once.
func (m *Metrics) Canary(steps []string) *Canary {
	k := newMaker(m.registry)
	c := &Canary{
		rounds:   k.counter("letterbox_canary_rounds_total"),
		failures: newCounters(k, "letterbox_canary_failures_total", "step", closed(steps...)),
		failed:   k.gauge("letterbox_canary_failed_rounds"),
		took:     k.histogram("letterbox_canary_round_seconds", prometheus.ExponentialBuckets(0.005, 3, 9)), // 5 ms to 33 s
		desc:     k.desc("letterbox_canary_last_success_timestamp_seconds", Gauge),
	}
	m.registry.MustRegister(c)
	return c
}

// Round counts a round that ended at a moment. step is what failed in it, empty where all went well.
func (c *Canary) Round(step string, at time.Time, took time.Duration) {
	c.rounds.Inc()
	c.took.Observe(took.Seconds())
	if step != "" {
		c.failures.inc(step)
		c.failed.Inc()
		return
	}
	c.failed.Set(0)
	c.last.Store(at.UnixNano())
}

// Describe sends the description of the moment.
func (c *Canary) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect sends when a round last went well.
func (c *Canary) Collect(ch chan<- prometheus.Metric) {
	if n := c.last.Load(); n != 0 {
		sendTime(ch, c.desc, time.Unix(0, n))
	}
}
