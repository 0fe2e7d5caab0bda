package board

import "example.org/letterbox/metrics"

// flowPanels answer the question of the first row.
func flowPanels() []Panel {
	stat := func(title, text, unit, expr string, warn, bad float64) Panel {
		return Panel{Row: metrics.Flow, Title: title, Text: text, Unit: unit, Stat: true, Queries: []Query{{expr, title}}, Warn: warn, Bad: bad}
	}
	up := stat("Processes up", "Targets of the job that Prometheus reaches. Fewer than you run: see LetterboxDown.", "short",
		`sum(up{`+pick+`})`, 0, 1)
	up.Below = true
	writable := stat("Store writable", "1 while the store takes mail and deletions. 0: restart letterbox, see LetterboxWriteErrors.", "short",
		`min(letterbox_store_writable{`+pick+`})`, 0, 1)
	writable.Below = true
	return []Panel{
		up, writable,
		stat("Canary", "Time since letterbox's own message last went the whole way: in by SMTP, out by POP3, deleted. No data: it never did in this run, or nobody asked "+
			"([canary] every).", "s", `time() - max(letterbox_canary_last_success_timestamp_seconds{`+pick+`})`, hour, 6*hour),
		stat("Canary's failures in a row", "Rounds of the canary that failed since the last good one. Two or more: see LetterboxCanaryFailing.", "short",
			`max(letterbox_canary_failed_rounds{`+pick+`})`, 1, 2),
		stat("Last accepted", "Time since a message was last accepted, as far as this run of letterbox knows.", "s",
			`time() - max(letterbox_store_last_delivery_timestamp_seconds{`+pick+`})`, day, 2*day),
		stat("Last drained", "Time since messages were last deleted by QUIT, as far as this run knows. Clients that leave mail on the server never do.", "s",
			`time() - max(letterbox_store_last_drain_timestamp_seconds{`+pick+`})`, 2*day, 7*day),
		stat("Oldest unfetched", "How long the oldest message has waited that no POP3 session saw. No data: all was seen.", "s",
			`time() - min(letterbox_store_oldest_unfetched_message_timestamp_seconds{`+pick+`})`, day, 2*day),
		stat("Messages waiting", "Messages in all maildrops.", "short", `sum(letterbox_store_messages{`+pick+`})`, 0, 0),
		stat("Lost or unaccounted for", "Messages that repairs lost, and those by which the maildrops and the counters differ. Anything but 0: see LetterboxMailLost.",
			"short", `sum(abs(letterbox_store_mismatch_messages{`+pick+`}) + abs(letterbox_store_lost_messages{`+pick+`}))`, 0, 1),
		stat("Backup", "Time since the last backup. No data: none is known.", "s",
			`time() - max(letterbox_store_last_backup_timestamp_seconds{`+pick+`})`, day, 2*day),
		stat("Verified", "Time since the whole store was last read and found in order. No data: not in this run.", "s",
			`time() - max(letterbox_store_last_verify_timestamp_seconds{`+pick+`})`, 30*day, 90*day),
	}
}

// An hour and a day in seconds.
const (
	hour = 3600
	day  = 24 * hour
)

func otherPanels() []Panel {
	free := Panel{Row: metrics.Store, Title: "Free disk", Text: "Room on the store's file system. Without any, mail is put off and can still be fetched and deleted.",
		Unit: "bytes", Queries: []Query{{`min by (instance) (letterbox_store_free_bytes{` + pick + `})`, "{{instance}}"}}, Warn: 2 << 30, Bad: 1 << 30, Below: true}
	expiry := Panel{Row: metrics.RowTLS, Title: "Certificates expire in", Text: "Time until the certificate that a listener shows expires; clients refuse it then.",
		Unit:    "s",
		Queries: []Query{{`min by (listener) (letterbox_tls_certificate_not_after_timestamp_seconds{` + pick + `}) - time()`, "{{listener}}"}},
		Warn:    21 * day, Bad: 7 * day, Below: true}
	failed := Panel{Row: metrics.RowTLS, Title: "Handshakes that fail", Text: "Share of TLS handshakes that fail. Scanners make some; a sender whose handshakes all fail can't deliver.",
		Unit: "percentunit", Queries: []Query{{`sum by (daemon) (rate(letterbox_tls_handshakes_total{` + pick + `,result="failed"}[$__rate_interval])) / ` +
			`sum by (daemon) (rate(letterbox_tls_handshakes_total{` + pick + `}[$__rate_interval]))`, "{{daemon}}"}}, Warn: 0.2, Bad: 0.5}
	refused := Panel{Row: metrics.Abuse, Title: "Messages refused or put off", Text: "Messages that were not accepted, by reason.", Unit: "cps",
		Queries: []Query{{`sum by (reason) (rate(letterbox_smtp_messages_total{` + pick + `,result!="accepted"}[$__rate_interval]))`, "{{reason}}"}}}
	broken := Panel{Row: metrics.RowPOP3, Title: "RETR broken off, maildrops taken away", Unit: "cps",
		Text: "Messages whose sending broke off, and sessions whose maildrop was taken over by a later login or taken away.",
		Queries: []Query{
			{`sum(rate(letterbox_pop3_retrieved_messages_total{` + pick + `,result="broken"}[$__rate_interval]))`, "RETR broken off"},
			{`sum(rate(letterbox_pop3_session_ends_total{` + pick + `,reason="lost"}[$__rate_interval]))`, "maildrops taken away"},
		}}
	return []Panel{free, expiry, failed, refused, broken}
}

func runtimePanels() []Panel {
	graph := func(title, text, unit string, q ...Query) Panel {
		return Panel{Row: metrics.Runtime, Title: title, Text: text, Unit: unit, Queries: q}
	}
	return []Panel{
		graph("Version", "What runs, by role.", "short", Query{`sum by (role, version) (letterbox_build_info{` + pick + `})`, "{{role}} {{version}}"}),
		graph("Processor time", "Seconds of processor time a second.", "short",
			Query{`sum by (instance) (rate(process_cpu_seconds_total{` + pick + `}[$__rate_interval]))`, "{{instance}}"}),
		graph("Memory", "Memory resident in RAM.", "bytes", Query{`sum by (instance) (process_resident_memory_bytes{` + pick + `})`, "{{instance}}"}),
		graph("Goroutines", "About two for each session.", "short", Query{`sum by (instance) (go_goroutines{` + pick + `})`, "{{instance}}"}),
		graph("Files open", "Each session needs one.", "short", Query{`sum by (instance) (process_open_fds{` + pick + `})`, "{{instance}}"}),
		graph("Up since", "Time since the process started.", "s", Query{`time() - max by (instance) (process_start_time_seconds{` + pick + `})`, "{{instance}}"}),
	}
}
