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
	recipients counters
	messages   pairs
	octets     prometheus.Histogram
	took       prometheus.Histogram
}

func newSMTP(r prometheus.Registerer, labels map[string][]string, handshakes *prometheus.CounterVec) *SMTP {
	s := &SMTP{
		sessions: newSessions(r, "smtp", labels, handshakes),
		verbs:    closed(labels["verb"]...),
		codes:    replyCodes(),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "letterbox_smtp_commands_total", Help: "Commands by verb and reply code."}, []string{"verb", "code"}),
		recipients: newCounters(r, "letterbox_smtp_recipients_total", "Forward-paths by what became of them.",
			"result", closed(labels["recipient"]...)),
		messages: newPairs(r, "letterbox_smtp_messages_total", "Messages by what became of them and why.",
			[2]string{"result", "reason"}, closed(labels["message_result"]...), closed(labels["message_reason"]...)),
		octets: newHistogram("letterbox_smtp_message_size_bytes", "Size of the messages that were accepted.",
			prometheus.ExponentialBuckets(1<<10, 4, 9)), // 1 KiB to 64 MiB
		took: newHistogram("letterbox_smtp_message_duration_seconds",
			"Time from the start of a message's content to its 250, for those that were accepted.",
			prometheus.ExponentialBuckets(0.001, 4, 9)), // 1 ms to 65 s
	}
	r.MustRegister(s.commands, s.octets, s.took)
	return s
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

// Command counts a command and the code of its reply.
func (s *SMTP) Command(verb string, code int) {
	text, ok := s.codes[code]
	if !ok {
		text = other
	}
	s.commands.WithLabelValues(s.verbs.of(verb), text).Inc()
}

// Recipient counts one forward-path.
func (s *SMTP) Recipient(result string) { s.recipients.inc(result) }

// Message counts one message. Size and time are kept of those that were accepted.
func (s *SMTP) Message(result, reason string, octets int64, took time.Duration) {
	s.messages.inc(result, reason)
	if result == "accepted" {
		s.octets.Observe(float64(octets))
		s.took.Observe(took.Seconds())
	}
}
