package board

import (
	"fmt"
	"strings"
	"time"
)

// Rule is one alert.
type Rule struct {
	Name     string // in CamelCase; the runbook has a section of that name
	Expr     string
	For      time.Duration
	Severity string // critical: somebody should look now; warning: this week
	Summary  string
	Text     string // what to do
}

// Recording is one recording rule.
type Recording struct{ Name, Expr string }

// Thresholds are what an operator may want otherwise.
type Thresholds struct {
	Job             string
	NothingAccepted time.Duration // without a message
	Unfetched       time.Duration // that a message waits and no client has seen it
	Backup          time.Duration // since the last backup
	Certificate     time.Duration // before it expires
	FreeBytes       int64
}

// Defaults returns the thresholds of the files in deploy/monitoring.
func Defaults() Thresholds {
	return Thresholds{
		Job: Job, NothingAccepted: 48 * time.Hour, Unfetched: 48 * time.Hour, Backup: 50 * time.Hour,
		Certificate: 14 * 24 * time.Hour, FreeBytes: 1 << 30,
	}
}

// Recordings returns the recording rules.
func (t Thresholds) Recordings() []Recording {
	job := fmt.Sprintf("job=%q", t.Job)
	return []Recording{
		{"job:letterbox_smtp_messages_accepted:rate5m", `sum by (job) (rate(letterbox_smtp_messages_total{` + job + `,result="accepted"}[5m]))`},
		{"job:letterbox_pop3_messages_retrieved:rate5m", `sum by (job) (rate(letterbox_pop3_retrieved_messages_total{` + job + `,result="complete"}[5m]))`},
		{"job:letterbox_pop3_logins_failed:increase15m",
			`sum by (job) (increase(letterbox_pop3_logins_total{` + job + `,result=~"credential|throttled"}[15m]))`},
		{"job:letterbox_smtp_handshakes_failed:increase1h",
			`sum by (job) (increase(letterbox_tls_handshakes_total{` + job + `,daemon="smtp",result="failed"}[1h]))`},
		{"job:letterbox_smtp_handshakes:increase1h", `sum by (job) (increase(letterbox_tls_handshakes_total{` + job + `,daemon="smtp"}[1h]))`},
	}
}

// Rules returns the alerts.
func (t Thresholds) Rules() []Rule {
	return append(t.mailRules(), t.serviceRules()...)
}

// seconds writes a duration as PromQL's number of seconds.
func seconds(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()) }

// promTime writes a duration as PromQL does.
func promTime(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%.0fs", d.Seconds())
}

// mailRules are about mail: does it come in, is it fetched, is it kept?
func (t Thresholds) mailRules() []Rule {
	job := fmt.Sprintf("{job=%q}", t.Job)
	delivered := "sum by (job) (letterbox_store_delivered_messages_total" + job
	return []Rule{
		{"LetterboxNothingAccepted", delivered + ") - " + delivered + " offset " + promTime(t.NothingAccepted) + ") == 0",
			15 * time.Minute, "warning", "No mail has come in for " + promTime(t.NothingAccepted) + ".",
			"Send yourself a message from outside and watch the log; check the MX record, port 25 from outside, and what senders are answered."},
		{"LetterboxMailWaits", "time() - letterbox_store_oldest_unfetched_message_timestamp_seconds" + job + " > " + seconds(t.Unfetched),
			2 * time.Hour, "warning", "A message has waited for {{ $value | humanizeDuration }} and no client has seen it.",
			"See `letterbox user list` for whose mail waits, and whether that person's mail program reaches POP3 and logs in."},
		{"LetterboxWriteErrors", "increase(letterbox_store_write_errors_total" + job + "[15m]) > 0 or letterbox_store_writable" + job + " == 0",
			time.Minute, "critical", "The store can't write.",
			"Senders are put off and lose nothing yet. Look at the log and the disk, then restart letterbox."},
		{"LetterboxDiskLow", "letterbox_store_free_bytes" + job + fmt.Sprintf(" < %d", t.FreeBytes),
			5 * time.Minute, "warning", "{{ $value | humanize1024 }}B are free on the store's file system.",
			"Make room: once the reserve is touched, mail is put off. Fetching and deleting goes on, and gives space back."},
		{"LetterboxMailLost", "letterbox_store_mismatch_messages" + job + " != 0 or delta(letterbox_store_lost_messages" + job + "[1h]) > 0",
			time.Minute, "critical", "{{ $value }} messages are lost or not accounted for.",
			"Run `letterbox verify`, keep a copy of the data folder before any repair, and compare with the last backup."},
		{"LetterboxQuotaNear", "letterbox_store_quota_used_ratio" + job + " > 0.9",
			15 * time.Minute, "warning", "A quota is used to {{ $value | humanizePercentage }}.",
			"See `letterbox user list` for whose; beyond the quota senders are put off. Have mail fetched and deleted, or raise the quota."},
		{"LetterboxIndexLag", "letterbox_store_index_lag_seconds" + job + " > 30",
			5 * time.Minute, "warning", "The index is {{ $value | humanizeDuration }} behind the log.",
			"Mail is safe; logins to changed maildrops wait. The disk is too slow for the load, or the index can't be written: see the log."},
	}
}

// serviceRules are about what stands around mail.
func (t Thresholds) serviceRules() []Rule {
	job := fmt.Sprintf("{job=%q}", t.Job)
	return []Rule{
		{"LetterboxDown", "up" + job + " == 0",
			2 * time.Minute, "critical", "{{ $labels.instance }} does not answer.",
			"Is the process running, and does the metrics listener answer from where Prometheus is? Senders try again for days; fix it within one."},
		{"LetterboxCanaryFailing", "letterbox_canary_failed_rounds" + job + " > 1",
			time.Minute, "critical", "{{ $value }} rounds of the canary in a row have failed: mail does not flow.",
			"`letterbox canary` does a round and says which step fails, and why; so does the log's line \"canary failed\"."},
		{"LetterboxCertificateExpires", "letterbox_tls_certificate_not_after_timestamp_seconds" + job + " - time() < " + seconds(t.Certificate),
			time.Hour, "warning", "The certificate of {{ $labels.listener }} expires in {{ $value | humanizeDuration }}.",
			"Renew it and send SIGHUP; where it was renewed already, letterbox was not told."},
		{"LetterboxStartTLSFailures", "job:letterbox_smtp_handshakes_failed:increase1h" + job + " > 10 and job:letterbox_smtp_handshakes_failed:increase1h" + job +
			" / job:letterbox_smtp_handshakes:increase1h" + job + " > 0.2",
			15 * time.Minute, "warning", "{{ $value | humanize }} TLS handshakes of senders failed in an hour.",
			"Test STARTTLS from outside; a certificate that is expired, or that does not fit its name or key, makes senders give up."},
		{"LetterboxLoginFailures", "job:letterbox_pop3_logins_failed:increase15m" + job + " > 50",
			5 * time.Minute, "warning", "{{ $value | humanize }} POP3 logins failed in 15 minutes.",
			"Somebody guesses passwords, or a mail program has an old one: the log's lines with result=credential say from where."},
		{"LetterboxBackupStale", "time() - max by (job) (max_over_time(letterbox_store_last_backup_timestamp_seconds" + job + "[30d])) > " + seconds(t.Backup),
			time.Hour, "warning", "The last backup is {{ $value | humanizeDuration }} old.",
			"See the log for why it failed; the place may be full or away."},
		{"LetterboxBackupFails", "increase(letterbox_store_backup_failures_total" + job + "[2h]) > 0",
			time.Hour, "warning", "The backups that [backup] asks for have failed for an hour.",
			"See the log for why: the place is full or away, or may not be written. Earlier backups are kept meanwhile."},
	}
}

// Write prints the rules as a file for Prometheus.
func (t Thresholds) Write() []byte {
	var b strings.Builder
	b.WriteString("# Made by `letterbox monitor rules`. Change it there, or by the command's flags.\ngroups:\n  - name: letterbox-recordings\n    rules:\n")
	for _, r := range t.Recordings() {
		fmt.Fprintf(&b, "      - record: %s\n        expr: %s\n", r.Name, quote(r.Expr))
	}
	b.WriteString("  - name: letterbox\n    rules:\n")
	for _, r := range t.Rules() {
		fmt.Fprintf(&b, "      - alert: %s\n        expr: %s\n        for: %s\n        labels:\n          severity: %s\n",
			r.Name, quote(r.Expr), promTime(r.For), r.Severity)
		fmt.Fprintf(&b, "        annotations:\n          summary: %s\n          description: %s\n          runbook_url: %s\n",
			quote(r.Summary), quote(r.Text), quote(RunbookURL+"#"+strings.ToLower(r.Name)))
	}
	return []byte(b.String())
}

// quote makes a single-quoted scalar of YAML, in which nothing is special but the quote.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
