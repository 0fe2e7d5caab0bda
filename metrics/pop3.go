package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// POP3 are the instruments of the POP3 daemon.
type POP3 struct {
	*sessions
	commands  pairs
	took      prometheus.Histogram
	logins    pairs
	retrieved counters
	octets    prometheus.Counter
	deleted   prometheus.Counter
	discarded prometheus.Counter
}

func newPOP3(k maker, labels map[string][]string, handshakes *prometheus.CounterVec) *POP3 {
	return &POP3{
		sessions: newSessions(k, "pop3", labels, handshakes),
		commands: newPairs(k, "letterbox_pop3_commands_total", [2]string{"verb", "result"}, closed(labels["verb"]...), closed("ok", "err")),
		took:     k.classic("letterbox_pop3_command_duration_seconds", prometheus.ExponentialBuckets(0.0001, 4, 10)), // 0.1 ms to 26 s
		logins: newPairs(k, "letterbox_pop3_logins_total", [2]string{"mechanism", "result"},
			closed(labels["mechanism"]...), closed(labels["login"]...)),
		retrieved: newCounters(k, "letterbox_pop3_retrieved_messages_total", "result", closed("complete", "broken")),
		octets:    k.counter("letterbox_pop3_retrieved_bytes_total"),
		deleted:   k.counter("letterbox_pop3_deleted_messages_total"),
		discarded: k.counter("letterbox_pop3_discarded_marks_total"),
	}
}

// Command counts a command, whether it was answered +OK, and the time that it took.
func (p *POP3) Command(verb string, ok bool, took time.Duration) {
	result := "err"
	if ok {
		result = "ok"
	}
	p.commands.inc(verb, result)
	p.took.Observe(took.Seconds())
}

// Login counts one attempt to log in.
func (p *POP3) Login(mechanism, result string) { p.logins.inc(mechanism, result) }

// Retrieved counts a message that was sent, to its end or not.
func (p *POP3) Retrieved(octets int64, complete bool) {
	result := "broken"
	if complete {
		result = "complete"
	}
	p.retrieved.inc(result)
	p.octets.Add(float64(max(octets, 0)))
}

// Deleted counts the messages that one QUIT deleted.
func (p *POP3) Deleted(messages int) { p.deleted.Add(float64(max(messages, 0))) }

// Discarded counts the marks that a session left behind without deleting.
func (p *POP3) Discarded(messages int) { p.discarded.Add(float64(max(messages, 0))) }
