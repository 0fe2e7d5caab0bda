package metrics

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SMTP are the instruments of the receiver.
type SMTP struct {
	*sessions
	verbs      values
	commands   map[verbCode]prometheus.Counter
	answered   prometheus.Histogram
	recipients counters
	messages   pairs
	octets     prometheus.Histogram
	took       prometheus.Histogram
	exemplar   atomic.Int64 // when the last one was kept, Unix nanoseconds
}

func newSMTP(k maker, labels map[string][]string, handshakes *prometheus.CounterVec) *SMTP {
	return &SMTP{
		sessions:   newSessions(k, "smtp", labels, handshakes),
		verbs:      closed(labels["verb"]...),
		commands:   commandSeries(k, closed(labels["verb"]...)),
		answered:   k.classic("letterbox_smtp_command_duration_seconds", prometheus.ExponentialBuckets(0.0001, 4, 10)), // 0.1 ms to 26 s
		recipients: newCounters(k, "letterbox_smtp_recipients_total", "result", closed(labels["recipient"]...)),
		messages: newPairs(k, "letterbox_smtp_messages_total", [2]string{"result", "reason"},
			closed(labels["message_result"]...), closed(labels["message_reason"]...)),
		octets: k.histogram("letterbox_smtp_message_size_bytes", prometheus.ExponentialBuckets(1<<10, 4, 9)),       // 1 KiB to 64 MiB
		took:   k.histogram("letterbox_smtp_message_duration_seconds", prometheus.ExponentialBuckets(0.001, 4, 9)), // 1 ms to 65 s
	}
}

// replyCodes are the codes of RFC 5321 section 4.3.2, RFC 3207 section 4 and RFC 3030 section 2 that have series of their own:
// those that any command may get, and those of one verb. All others are counted as "other".
func replyCodes(verb string) []int {
	own := map[string][]int{
		"HELO": {250}, "EHLO": {250}, "LHLO": {250}, "NOOP": {250}, "RSET": {250}, "QUIT": {221}, "VRFY": {252}, "HELP": {214},
		"STARTTLS": {220, 454}, "MAIL": {250, 450, 452, 550, 552, 553, 555}, "RCPT": {250, 450, 452, 550, 551, 552, 553, 555},
		"DATA": {354, 250, 452, 550, 552}, "BDAT": {250, 452, 550, 552}, "AUTH": {504, 530},
	}
	return append(own[verb], 421, 451, 500, 501, 502, 503, 554)
}

// verbCode names one series of commands.
type verbCode struct {
	verb string
	code int // 0 for other
}

// commandSeries makes a counter for each verb and code, all at zero: what a client sends makes no series.
func commandSeries(k maker, verbs values) map[verbCode]prometheus.Counter {
	vec := k.counterVec("letterbox_smtp_commands_total", "verb", "code")
	all := map[verbCode]prometheus.Counter{}
	for verb := range verbs {
		all[verbCode{verb, 0}] = vec.WithLabelValues(verb, other)
		for _, code := range replyCodes(verb) {
			all[verbCode{verb, code}] = vec.WithLabelValues(verb, strconv.Itoa(code))
		}
	}
	return all
}

// Command counts a command, the code of its reply, and the time that the client waited for that.
func (s *SMTP) Command(verb string, code int, took time.Duration) {
	verb = s.verbs.of(verb)
	n, ok := s.commands[verbCode{verb, code}]
	if !ok {
		n = s.commands[verbCode{verb, 0}]
	}
	n.Inc()
	s.answered.Observe(took.Seconds())
}

// Recipient counts one forward-path.
func (s *SMTP) Recipient(result string) { s.recipients.inc(result) }

// exemplarInterval is the least time between two exemplars: they cost more than what they stand beside, and a scrape sees
// only the last of each bucket.
const exemplarInterval = 100 * time.Millisecond

// idLength is the length of a message's id. Anything else is no exemplar: a long one would end the process.
const idLength = 26

// Message counts one message. Size and time are kept of those that were accepted, now and then with the id of one (an exemplar
// of OpenMetrics), by which its line of the log is found.
func (s *SMTP) Message(id, result, reason string, octets int64, took time.Duration) {
	s.messages.inc(result, reason)
	if result != "accepted" {
		return
	}
	now, last := time.Now().UnixNano(), s.exemplar.Load()
	if len(id) != idLength || now-last < int64(exemplarInterval) || !s.exemplar.CompareAndSwap(last, now) {
		s.octets.Observe(float64(octets))
		s.took.Observe(took.Seconds())
		return
	}
	observe(s.octets, float64(octets), id)
	observe(s.took, took.Seconds(), id)
}

// observe counts v with the id of a message as its exemplar.
func observe(h prometheus.Histogram, v float64, id string) {
	if e, ok := h.(prometheus.ExemplarObserver); ok {
		e.ObserveWithExemplar(v, prometheus.Labels{"msg": id})
	}
}
