package metrics

import "slices"

// Part is what of letterbox an instrument belongs to. A process has the instruments of the parts that it holds.
type Part string

// The parts. Serve holds all of them; store, smtpd and pop3d, as processes of their own, hold Process and the one of their
// name, and the two daemons hold TLS too.
const (
	Process Part = "process"
	SMTPD   Part = "smtpd"
	POP3D   Part = "pop3d"
	TLS     Part = "tls"
	Owner   Part = "store"
)

// Kind is what can be done with an instrument's numbers.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Unit is what an instrument's numbers count.
type Unit string

// The units, in Prometheus's base units.
const (
	Number  Unit = "number"
	Bytes   Unit = "bytes"
	Seconds Unit = "seconds"
	Moment  Unit = "moment" // seconds since 1970
	Ratio   Unit = "ratio"  // 0 to 1
	Info    Unit = "info"   // always 1
)

// Row is a row of the dashboard.
type Row string

// The rows, in their order on the dashboard.
const (
	Flow    Row = "Is mail flowing?"
	RowSMTP Row = "SMTP"
	Abuse   Row = "Abuse"
	RowPOP3 Row = "POP3"
	Store   Row = "Store"
	RowTLS  Row = "TLS"
	Runtime Row = "Runtime"
)

// Instrument is one row of the table from which instruments, dashboard, rules and the list of names come.
type Instrument struct {
	Name   string
	Kind   Kind
	Unit   Unit
	Part   Part
	Labels []string // sorted
	Help   string

	// The panel that shows it: those of the same row and title share one. Without a title, panels that are made by hand
	// show it.
	Row   Row
	Panel string
	By    string // the label that tells the lines of the panel apart; empty: the sum
	// Warn and Bad are where the panel turns yellow and red; 0 for never.
	Warn, Bad float64

	Optional bool // there only when the configuration asks for it, or once there is something to tell
}

// Instruments returns the table, in the order of the dashboard.
func Instruments() []Instrument {
	return slices.Concat(processTable(), sessionTable("smtp", SMTPD, RowSMTP), smtpTable(), sessionTable("pop3", POP3D, RowPOP3),
		pop3Table(), mailTable(), canaryTable(), storeTable(), tlsTable())
}

func processTable() []Instrument {
	return []Instrument{
		{Name: "letterbox_build_info", Kind: Gauge, Unit: Info, Part: Process, Labels: []string{"goversion", "role", "version"},
			Help: "Always 1; the labels say what runs."},
	}
}

func sessionTable(daemon string, part Part, row Row) []Instrument {
	name := func(s string) string { return "letterbox_" + daemon + "_" + s }
	listener := []string{"listener"}
	return []Instrument{
		{Name: name("connections_total"), Kind: Counter, Unit: Number, Part: part, Labels: []string{"listener", "result"},
			Help: "Connections by listener and by what admission decided.", Row: row, Panel: "Connections", By: "result"},
		{Name: name("sessions"), Kind: Gauge, Unit: Number, Part: part, Labels: listener,
			Help: "Sessions that are open now.", Row: row, Panel: "Sessions open", By: "listener"},
		{Name: name("session_ends_total"), Kind: Counter, Unit: Number, Part: part, Labels: []string{"listener", "reason"},
			Help: "Sessions that ended, by listener and reason.", Row: row, Panel: "Ends of sessions", By: "reason"},
		{Name: name("session_duration_seconds"), Kind: Histogram, Unit: Seconds, Part: part,
			Help: "Time from a session's greeting to its end.", Row: row, Panel: "Length of sessions"},
		{Name: name("received_bytes_total"), Kind: Counter, Unit: Bytes, Part: part, Labels: listener,
			Help: "Octets that clients sent, inside TLS.", Row: row, Panel: "Octets received and sent"},
		{Name: name("sent_bytes_total"), Kind: Counter, Unit: Bytes, Part: part, Labels: listener,
			Help: "Octets that clients were sent, inside TLS.", Row: row, Panel: "Octets received and sent"},
	}
}

func smtpTable() []Instrument {
	return []Instrument{
		{Name: "letterbox_smtp_commands_total", Kind: Counter, Unit: Number, Part: SMTPD, Labels: []string{"code", "verb"},
			Help: "Commands by verb and reply code.", Row: RowSMTP, Panel: "Commands", By: "verb"},
		{Name: "letterbox_smtp_command_duration_seconds", Kind: Histogram, Unit: Seconds, Part: SMTPD,
			Help: "Time from a client's last octet to the reply that it waits for.", Row: RowSMTP, Panel: "Time of commands", Warn: 1, Bad: 10},
		{Name: "letterbox_smtp_recipients_total", Kind: Counter, Unit: Number, Part: SMTPD, Labels: []string{"result"},
			Help: "Forward-paths by what became of them.", Row: Abuse, Panel: "Recipients", By: "result"},
		{Name: "letterbox_smtp_messages_total", Kind: Counter, Unit: Number, Part: SMTPD, Labels: []string{"reason", "result"},
			Help: "Messages by what became of them and why.", Row: RowSMTP, Panel: "Messages", By: "result"},
		{Name: "letterbox_smtp_message_size_bytes", Kind: Histogram, Unit: Bytes, Part: SMTPD,
			Help: "Size of the messages that were accepted.", Row: RowSMTP, Panel: "Size of messages"},
		{Name: "letterbox_smtp_message_duration_seconds", Kind: Histogram, Unit: Seconds, Part: SMTPD,
			Help: "Time from the start of a message's content to its 250, for those that were accepted.",
			Row:  RowSMTP, Panel: "Time of messages"},
	}
}

func pop3Table() []Instrument {
	return []Instrument{
		{Name: "letterbox_pop3_commands_total", Kind: Counter, Unit: Number, Part: POP3D, Labels: []string{"result", "verb"},
			Help: "Commands by verb and reply.", Row: RowPOP3, Panel: "Commands", By: "verb"},
		{Name: "letterbox_pop3_command_duration_seconds", Kind: Histogram, Unit: Seconds, Part: POP3D,
			Help: "Time from a command's line to the end of its reply.", Row: RowPOP3, Panel: "Time of commands"},
		{Name: "letterbox_pop3_logins_total", Kind: Counter, Unit: Number, Part: POP3D, Labels: []string{"mechanism", "result"},
			Help: "Logins by mechanism and result.", Row: Abuse, Panel: "Logins", By: "result"},
		{Name: "letterbox_pop3_retrieved_messages_total", Kind: Counter, Unit: Number, Part: POP3D, Labels: []string{"result"},
			Help: "Messages sent, whole or broken off.", Row: RowPOP3, Panel: "Messages sent", By: "result"},
		{Name: "letterbox_pop3_retrieved_bytes_total", Kind: Counter, Unit: Bytes, Part: POP3D,
			Help: "Octets of messages sent, before dot-stuffing.", Row: RowPOP3, Panel: "Octets of messages sent"},
		{Name: "letterbox_pop3_deleted_messages_total", Kind: Counter, Unit: Number, Part: POP3D,
			Help: "Messages deleted at QUIT.", Row: RowPOP3, Panel: "Deleted, and marks discarded"},
		{Name: "letterbox_pop3_discarded_marks_total", Kind: Counter, Unit: Number, Part: POP3D,
			Help: "Messages that were marked as deleted and stayed, since the session ended without a QUIT that was carried out.",
			Row:  RowPOP3, Panel: "Deleted, and marks discarded"},
	}
}

func tlsTable() []Instrument {
	return []Instrument{
		{Name: "letterbox_tls_handshakes_total", Kind: Counter, Unit: Number, Part: TLS,
			Labels: []string{"daemon", "listener", "result", "version"},
			Help:   "TLS handshakes by daemon, listener, version (none where it failed before one was agreed) and result.",
			Row:    RowTLS, Panel: "Handshakes", By: "version"},
		{Name: "letterbox_tls_certificate_not_after_timestamp_seconds", Kind: Gauge, Unit: Moment, Part: TLS, Labels: []string{"listener"},
			Help: "When the certificate that a listener shows expires."},
	}
}
