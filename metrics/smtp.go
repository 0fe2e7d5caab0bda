package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SMTP are the instruments of the receiver.
type SMTP struct {
	*sessions
	verbs      values
	codes      map[int]string
	commands   *prometheus.CounterVec
	answered   prometheus.Histogram
	recipients counters
	messages   pairs
	octets     prometheus.Histogram
	took       prometheus.Histogram
}

func newSMTP(k maker, labels map[string][]string, handshakes *prometheus.CounterVec) *SMTP {
	return &SMTP{
		sessions:   newSessions(k, "smtp", labels, handshakes),
		verbs:      closed(labels["verb"]...),
		codes:      replyCodes(),
		commands:   k.counterVec("letterbox_smtp_commands_total", "verb", "code"),
		answered:   k.histogram("letterbox_smtp_command_duration_seconds", prometheus.ExponentialBuckets(0.0001, 4, 10)), // 0.1 ms to 26 s
		recipients: newCounters(k, "letterbox_smtp_recipients_total", "result", closed(labels["recipient"]...)),
		messages: newPairs(k, "letterbox_smtp_messages_total", [2]string{"result", "reason"},
			closed(labels["message_result"]...), closed(labels["message_reason"]...)),
		octets: k.histogram("letterbox_smtp_message_size_bytes", prometheus.ExponentialBuckets(1<<10, 4, 9)),       // 1 KiB to 64 MiB
		took:   k.histogram("letterbox_smtp_message_duration_seconds", prometheus.ExponentialBuckets(0.001, 4, 9)), // 1 ms to 65 s
	}
}

// replyCodes are the codes of RFC 5321 section 4.2.3, RFC 3207 section 4, RFC 4954 section 6 and RFC 7504. Their series are
// made when a code first comes: most pairs of verb and code never do.
func replyCodes() map[int]string {
	codes := map[int]string{}
	for _, c := range []int{
		211, 214, 220, 221, 235, 250, 251, 252, 334, 354, 421, 432, 450, 451, 452, 454, 455,
		500, 501, 502, 503, 504, 521, 523, 530, 534, 535, 538, 550, 551, 552, 553, 554, 555, 556,
	} {
		codes[c] = strconv.Itoa(c)
	}
	return codes
}

// Command counts a command, the code of its reply, and the time that the client waited for that.
func (s *SMTP) Command(verb string, code int, took time.Duration) {
	text, ok := s.codes[code]
	if !ok {
		text = other
	}
	s.commands.WithLabelValues(s.verbs.of(verb), text).Inc()
	s.answered.Observe(took.Seconds())
}

// Recipient counts one forward-path.
func (s *SMTP) Recipient(result string) { s.recipients.inc(result) }

// Message counts one message. Size and time are kept of those that were accepted, with the id of one of them in each bucket
// (an exemplar of OpenMetrics), by which a line of the log is found.
func (s *SMTP) Message(id, result, reason string, octets int64, took time.Duration) {
	s.messages.inc(result, reason)
	if result == "accepted" {
		observe(s.octets, float64(octets), id)
		observe(s.took, took.Seconds(), id)
	}
}

// idLength is the length of a message's id. Anything else is no exemplar: a long one would end the process.
const idLength = 26

// observe counts v with the id of a message as its exemplar, where there is one.
func observe(h prometheus.Histogram, v float64, id string) {
	if e, ok := h.(prometheus.ExemplarObserver); ok && len(id) == idLength {
		e.ObserveWithExemplar(v, prometheus.Labels{"msg": id})
		return
	}
	h.Observe(v)
}
