package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Times are the histograms of the store's owner. It satisfies boltstore.Observer.
type Times struct {
	synced, indexed, retrieved, deleted prometheus.Histogram
}

// NewTimes returns the histograms, which AddTimes adds to a process's metrics: the store is opened before these are made.
func NewTimes() *Times {
	k := newMaker(prometheus.NewRegistry())
	wait := prometheus.ExponentialBuckets(1, 6, 9)       // 1 s to 19 days
	write := prometheus.ExponentialBuckets(0.0001, 4, 9) // 0.1 ms to 6.5 s
	return &Times{
		synced:    k.histogram("letterbox_store_sync_duration_seconds", write),
		indexed:   k.histogram("letterbox_store_index_transaction_duration_seconds", write),
		retrieved: k.histogram("letterbox_store_retrieval_wait_seconds", wait),
		deleted:   k.histogram("letterbox_store_deletion_wait_seconds", wait),
	}
}

// AddTimes adds the histograms of the owner. It is called once.
func (m *Metrics) AddTimes(t *Times) {
	m.registry.MustRegister(t.synced, t.indexed, t.retrieved, t.deleted)
}

// Synced counts one fdatasync of the log.
func (t *Times) Synced(took time.Duration) { t.synced.Observe(took.Seconds()) }

// Indexed counts one transaction of the index.
func (t *Times) Indexed(took time.Duration) { t.indexed.Observe(took.Seconds()) }

// Retrieved counts the first RETR of a message.
func (t *Times) Retrieved(waited time.Duration) { t.retrieved.Observe(waited.Seconds()) }

// Deleted counts a message that QUIT deleted.
func (t *Times) Deleted(waited time.Duration) { t.deleted.Observe(waited.Seconds()) }
