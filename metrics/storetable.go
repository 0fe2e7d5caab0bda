package metrics

// mailTable and storeTable are the instruments of the store's owner.
func mailTable() []Instrument {
	return []Instrument{
		{Name: "letterbox_store_messages", Kind: Gauge, Unit: Number, Part: Owner,
			Help: "Messages that wait, counted once for each maildrop.", Row: Store, Panel: "Messages that wait"},
		{Name: "letterbox_store_message_bytes", Kind: Gauge, Unit: Bytes, Part: Owner,
			Help: "Octets of the messages that wait.", Row: Store, Panel: "Octets that wait"},
		{Name: "letterbox_store_oldest_unfetched_message_timestamp_seconds", Kind: Gauge, Unit: Moment, Part: Owner, Optional: true,
			Help: "When the oldest message arrived that no POP3 session has seen since the start; missing while there is none."},
		{Name: "letterbox_store_retrieval_wait_seconds", Kind: Histogram, Unit: Seconds, Part: Owner,
			Help: "Time from a message's acceptance to its first RETR, for messages that came since the start.",
			Row:  Flow, Panel: "From acceptance to first RETR"},
		{Name: "letterbox_store_deletion_wait_seconds", Kind: Histogram, Unit: Seconds, Part: Owner,
			Help: "Time from a message's acceptance to its deletion by QUIT.", Row: Flow, Panel: "From acceptance to deletion"},
		{Name: "letterbox_store_delivered_messages_total", Kind: Counter, Unit: Number, Part: Owner,
			Help: "Messages delivered since the store was made, counted once for each maildrop.", Row: Flow, Panel: "Delivered and deleted"},
		{Name: "letterbox_store_deleted_messages_total", Kind: Counter, Unit: Number, Part: Owner,
			Help: "Messages deleted, expired or removed with their account since the store was made.", Row: Flow, Panel: "Delivered and deleted"},
		{Name: "letterbox_store_last_delivery_timestamp_seconds", Kind: Gauge, Unit: Moment, Part: Owner, Optional: true,
			Help: "When a message was last accepted; missing until one is."},
		{Name: "letterbox_store_last_drain_timestamp_seconds", Kind: Gauge, Unit: Moment, Part: Owner, Optional: true,
			Help: "When messages were last deleted by QUIT; missing until some are."},
		{Name: "letterbox_store_mismatch_messages", Kind: Gauge, Unit: Number, Part: Owner,
			Help: "Messages more or less than delivered, deleted and lost ones add up to; 0 in a store in order."},
		{Name: "letterbox_store_lost_messages", Kind: Gauge, Unit: Number, Part: Owner,
			Help: "Messages that repairs of the store could not save."},
		{Name: "letterbox_store_quota_used_ratio", Kind: Gauge, Unit: Ratio, Part: Owner,
			Help: "The largest share of a quota that is used, 0 without quotas.", Row: Store, Panel: "Quota used", Warn: 0.8, Bad: 0.9},
		{Name: "letterbox_store_last_backup_timestamp_seconds", Kind: Gauge, Unit: Moment, Part: Owner, Optional: true,
			Help: "When a backup was last made; missing while none is known."},
		{Name: "letterbox_store_backup_failures_total", Kind: Counter, Unit: Number, Part: Owner,
			Help: "Backups that `[backup]` asks for and that failed.", Row: Store, Panel: "Backups that failed", Bad: 0.000001},
		{Name: "letterbox_store_last_verify_timestamp_seconds", Kind: Gauge, Unit: Moment, Part: Owner, Optional: true,
			Help: "When the whole store was last read and found in order; missing until it is."},
		{Name: "letterbox_store_account_messages", Kind: Gauge, Unit: Number, Part: Owner, Labels: []string{"account"}, Optional: true,
			Help: "Messages that wait for an account; only with per_account, and of 100 accounts at most.",
			Row:  Store, Panel: "Messages of accounts", By: "account"},
		{Name: "letterbox_store_account_bytes", Kind: Gauge, Unit: Bytes, Part: Owner, Labels: []string{"account"}, Optional: true,
			Help: "Octets of these messages.", Row: Store, Panel: "Octets of accounts", By: "account"},
	}
}

func storeTable() []Instrument {
	gauge := func(name string, unit Unit, panel, help string) Instrument {
		return Instrument{Name: "letterbox_store_" + name, Kind: Gauge, Unit: unit, Part: Owner, Help: help, Row: Store, Panel: panel}
	}
	counter := func(name string, unit Unit, panel, help string) Instrument {
		return Instrument{Name: "letterbox_store_" + name + "_total", Kind: Counter, Unit: unit, Part: Owner, Help: help, Row: Store, Panel: panel}
	}
	free := gauge("free_bytes", Bytes, "", "Room on the store's file system.")
	checks := gauge("password_checks", Number, "Password checks", "Passwords that are checked now, and those that wait for it.")
	checks.Labels, checks.By, checks.Row = []string{"state"}, "state", Abuse
	sync := Instrument{Name: "letterbox_store_sync_duration_seconds", Kind: Histogram, Unit: Seconds, Part: Owner,
		Help: "Time of one fdatasync of the log; every acknowledgement waits for one.", Row: Store, Panel: "fdatasync", Warn: 0.1, Bad: 1}
	index := Instrument{Name: "letterbox_store_index_transaction_duration_seconds", Kind: Histogram, Unit: Seconds, Part: Owner,
		Help: "Time of one transaction of the index; nothing waits for it but logins to changed maildrops.", Row: Store, Panel: "Index transactions"}
	lag := gauge("index_lag_seconds", Seconds, "Index lag", "Age of the oldest record that is durable and not yet in the index; 0 where there is none.")
	lag.Warn, lag.Bad = 10, 30
	live := gauge("live_ratio", Ratio, "Live share of the log", "Share of the log's sealed files that is still needed, as reclaim last found it.")
	errs := counter("write_errors", Number, "Write errors", "Writes and syncs that failed.")
	errs.Bad = 0.000001
	takeovers := counter("takeovers", Number, "Take-overs", "Maildrops that a login took over from a session that had not moved for long.")
	takeovers.Row = RowPOP3
	return []Instrument{
		gauge("writable", Number, "", "1 while the store takes mail and deletions, 0 when it has to be restarted for that."),
		gauge("accounts", Number, "Directory", "Accounts."),
		gauge("disabled_accounts", Number, "Directory", "Accounts that are disabled."),
		gauge("aliases", Number, "Directory", "Aliases."),
		gauge("catchalls", Number, "Directory", "Catch-alls."),
		gauge("log_bytes", Bytes, "Size on disk", "Size of the log on disk."),
		gauge("index_bytes", Bytes, "Size on disk", "Size of the index on disk."),
		gauge("history_bytes", Bytes, "Size on disk", "Size of the history on disk."),
		gauge("log_segments", Number, "Files of the log", "Files of the log."),
		free, live, lag,
		gauge("pending_records", Number, "Records not in the index yet", "Records that are durable and not yet in the index."),
		gauge("open_maildrops", Number, "Maildrops open", "Maildrops that are locked now."),
		counter("commit_groups", Number, "Group commit", "Groups of records that were made durable together."),
		counter("commit_group_records", Number, "Group commit", "Records in these groups."),
		sync, index, errs,
		counter("reclaimed_segments", Number, "Files reclaimed", "Files of the log whose space was given back."),
		counter("reclaimed_bytes", Bytes, "Space reclaimed", "Octets of these files."),
		checks, takeovers,
		counter("history_dropped_lines", Number, "History dropped", "Lines of the history that could not be written, or had no room to wait for it."),
	}
}
