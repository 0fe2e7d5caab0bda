package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// other stands for every value outside of a closed set.
const other = "other"

// values is a closed set of label values.
type values map[string]bool

func closed(list ...string) values {
	v := values{other: true}
	for _, s := range list {
		v[s] = true
	}
	return v
}

// of returns s where the set holds it, else other.
func (v values) of(s string) string {
	if v[s] {
		return s
	}
	return other
}

// counters is a counter for each value of one label, all made at zero.
type counters struct {
	byValue map[string]prometheus.Counter
}

func newCounters(k maker, name, label string, set values) counters {
	vec := k.counterVec(name, label)
	c := counters{byValue: make(map[string]prometheus.Counter, len(set))}
	for value := range set {
		c.byValue[value] = vec.WithLabelValues(value)
	}
	return c
}

func (c counters) inc(value string) {
	if n, ok := c.byValue[value]; ok {
		n.Inc()
		return
	}
	c.byValue[other].Inc()
}

// pairs is a counter for each pair of values of two labels, all made at zero.
type pairs struct {
	vec           *prometheus.CounterVec
	first, second values
}

func newPairs(k maker, name string, labels [2]string, first, second values) pairs {
	p := pairs{first: first, second: second, vec: k.counterVec(name, labels[:]...)}
	for a := range first {
		for b := range second {
			p.vec.WithLabelValues(a, b)
		}
	}
	return p
}

func (p pairs) inc(a, b string) { p.vec.WithLabelValues(p.first.of(a), p.second.of(b)).Inc() }

// maxListeners bounds the listeners that have series of their own. Their names come from the configuration.
const maxListeners = 32

// listeners learns the names of the listeners as they are first seen, so that a bound stands here too.
type listeners struct {
	mu    sync.RWMutex
	known values
}

func (l *listeners) of(name string) string {
	l.mu.RLock()
	known, full := l.known[name], len(l.known) >= maxListeners
	l.mu.RUnlock()
	switch {
	case known:
		return name
	case full:
		return other
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known[name] && len(l.known) >= maxListeners {
		return other
	}
	if l.known == nil {
		l.known = values{}
	}
	l.known[name] = true
	return name
}
