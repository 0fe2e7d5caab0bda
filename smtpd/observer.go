package smtpd

import "time"

// Observer is told what happens, for metrics. All strings come from the closed sets that LabelValues returns, except for
// the listener's name. Its methods are called by many goroutines and should return at once.
type Observer interface {
	// Connection is one connection, before anything is read from it: accepted or busy.
	Connection(listener, result string)
	// SessionStart and SessionEnd come once each for every accepted connection; in and out are octets on the wire.
	SessionStart(listener string)
	SessionEnd(listener, reason string, took time.Duration, in, out int64)
	// Command is one reply to a command, and the time from the client's last octet to it. DATA has two replies: 354, and
	// the one after the message.
	Command(verb string, code int, took time.Duration)
	// Handshake is the end of one TLS handshake; version is 1.2, 1.3 or none, result ok or failed.
	Handshake(listener, version, result string)
	// Recipient is the fate of one forward-path.
	Recipient(result string)
	// Message is the fate of one message that got as far as its content. Octets are the sender's; id is the store's, empty
	// where it gave none.
	Message(id, result, reason string, octets int64, took time.Duration)
}

// Why a session ended.
const (
	endQuit      = "quit"
	endEOF       = "eof"
	endIdle      = "idle"
	endSlow      = "slow"
	endError     = "error"
	endErrors    = "errors"
	endProtocol  = "protocol"
	endHandshake = "handshake"
	endShutdown  = "shutdown"
	endPanic     = "panic"
)

// The fate of a message.
const (
	accepted = "accepted"
	rejected = "rejected"
	deferred = "deferred"
	aborted  = "aborted"
)

// verbs are the commands that have a label of their own.
func verbs() [16]string {
	return [...]string{
		"AUTH", "BDAT", "DATA", "EHLO", "EXPN", "HELO", "HELP", "LHLO", "MAIL",
		"NOOP", "QUIT", "RCPT", "RSET", "STARTTLS", "VRFY", otherVerb,
	}
}

const otherVerb = "other"

// LabelValues returns every value that the strings of an Observer can have, so that metrics can start at zero.
func LabelValues() map[string][]string {
	v := verbs()
	return map[string][]string{
		"verb":       v[:],
		"connection": {"accepted", "busy"},
		"end": {
			endQuit, endEOF, endIdle, endSlow, endError, endErrors, endProtocol, endHandshake, endShutdown, endPanic,
		},
		"recipient": {
			"ok", "unknown", "not-local", "disabled", "blocked", "over-quota", "full", "too-many", "syntax", "temporary",
		},
		"message_result": {accepted, rejected, deferred, aborted},
		"message_reason": {
			"none", "size", "newlines", "header", "full", "store", "protocol", "disconnect", "timeout", "shutdown",
		},
	}
}

// unobserved is the Observer of a Server that has none.
type unobserved struct{}

func (unobserved) Connection(string, string)                              {}
func (unobserved) SessionStart(string)                                    {}
func (unobserved) SessionEnd(string, string, time.Duration, int64, int64) {}
func (unobserved) Command(string, int, time.Duration)                     {}
func (unobserved) Handshake(string, string, string)                       {}
func (unobserved) Recipient(string)                                       {}
func (unobserved) Message(string, string, string, int64, time.Duration)   {}
