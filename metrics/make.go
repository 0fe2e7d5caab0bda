package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maker makes instruments as the table describes them and registers them.
type maker struct {
	registry prometheus.Registerer
	table    map[string]Instrument
}

func newMaker(r prometheus.Registerer) maker {
	table := map[string]Instrument{}
	for _, i := range Instruments() {
		table[i.Name] = i
	}
	return maker{r, table}
}

// find returns a row of the table. A name that is not there, or is of another kind, is a mistake of ours that every start
// shows.
func (k maker) find(name string, kind Kind) Instrument {
	i, ok := k.table[name]
	if !ok || i.Kind != kind {
		panic("metrics: the table has no " + string(kind) + " " + name)
	}
	return i
}

func (k maker) desc(name string, kind Kind) *prometheus.Desc {
	i := k.find(name, kind)
	return prometheus.NewDesc(name, i.Help, i.Labels, nil)
}

func (k maker) counter(name string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: k.find(name, Counter).Help})
	k.registry.MustRegister(c)
	return c
}

// counterVec returns a counter with labels in the order given, which the table has too.
func (k maker) counterVec(name string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: k.find(name, Counter).Help}, labels)
	k.registry.MustRegister(c)
	return c
}

func (k maker) gauge(name string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: k.find(name, Gauge).Help})
	k.registry.MustRegister(g)
	return g
}

func (k maker) gaugeVec(name string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: k.find(name, Gauge).Help}, labels)
	k.registry.MustRegister(g)
	return g
}

// classic returns a histogram in classic form alone, which costs half: for what happens several times for each message.
func (k maker) classic(name string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: k.find(name, Histogram).Help, Buckets: buckets})
	k.registry.MustRegister(h)
	return h
}

// histogram returns a histogram that is scraped in classic or in native form, as the scraper asks.
func (k maker) histogram(name string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: name, Help: k.find(name, Histogram).Help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	})
	k.registry.MustRegister(h)
	return h
}
