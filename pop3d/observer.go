package pop3d

import (
	"maps"
	"slices"
	"time"
)

// Observer is told what happens. Its strings come from closed sets, those of LabelValues, but for the listener's name,
// which comes from the configuration. Its methods are called from many goroutines and should return at once.
type Observer interface {
	// Connection is called once for each connection, with "accepted" or "busy".
	Connection(listener, result string)
	// SessionStart is called before the greeting or the implicit handshake; SessionEnd follows it, always.
	SessionStart(listener string)
	// SessionEnd tells why a session ended, how long it took, and its octets inside TLS, from the client and to it.
	SessionEnd(listener, reason string, took time.Duration, in, out int64)
	// Command is called after the reply was written to the session's buffer. An unknown verb is "other".
	Command(verb string, ok bool, took time.Duration)
	// Handshake tells the version, "1.2", "1.3" or "none", and "ok" or "failed".
	Handshake(listener, version, result string)
	// Login is called for each attempt, and for each one that was refused before the password was sent.
	Login(mechanism, result string)
	// Retrieved is called for each RETR that began to send, with the octets before dot-stuffing.
	Retrieved(octets int64, complete bool)
	// Deleted is called after a commit.
	Deleted(messages int)
	// Discarded is called when a session that marked messages ends and deletes none of them.
	Discarded(messages int)
}

// LabelValues returns every value that an Observer is told, by kind: "verb", "end", "connection", "mechanism", "login".
func LabelValues() map[string][]string {
	mechanisms := []string{mechanismUser}
	for _, m := range mechanismTable() {
		mechanisms = append(mechanisms, m.name)
	}
	return map[string][]string{
		"verb": append(slices.Sorted(maps.Keys(commandTable())), verbOther),
		"end": {
			string(endQuit), string(endEOF), string(endIdle), string(endSlow), string(endError), string(endErrors),
			string(endProtocol), string(endHandshake), string(endShutdown), string(endLost), string(endPanic),
		},
		"connection": {connectionAccepted, connectionBusy},
		"mechanism":  mechanisms,
		"login": {
			loginOK, loginCredential, loginThrottled, loginTooSoon, loginInUse, loginBusy, loginPlaintext, loginTemporary,
		},
	}
}

const (
	connectionAccepted = "accepted"
	connectionBusy     = "busy"

	// verbOther stands for every verb that is not in the table: a stranger's word is no label.
	verbOther = "other"
)

// end says why a session ended; endNone that it goes on.
type end string

const (
	endNone      end = ""
	endQuit      end = "quit"
	endEOF       end = "eof"
	endIdle      end = "idle"      // no command in time
	endSlow      end = "slow"      // took no octet in time, or was not logged in in time
	endError     end = "error"     // the network or the store failed
	endErrors    end = "errors"    // too many bad commands or failed logins
	endProtocol  end = "protocol"  // what came is not POP3
	endHandshake end = "handshake" // no TLS came about
	endShutdown  end = "shutdown"
	endLost      end = "lost" // the maildrop was taken away
	endPanic     end = "panic"
)

// nobody is the Observer of a server that has none.
type nobody struct{}

func (nobody) Connection(_, _ string)                                    {}
func (nobody) SessionStart(_ string)                                     {}
func (nobody) SessionEnd(_, _ string, _ time.Duration, _ int64, _ int64) {}
func (nobody) Command(_ string, _ bool, _ time.Duration)                 {}
func (nobody) Handshake(_, _, _ string)                                  {}
func (nobody) Login(_, _ string)                                         {}
func (nobody) Retrieved(_ int64, _ bool)                                 {}
func (nobody) Deleted(_ int)                                             {}
func (nobody) Discarded(_ int)                                           {}
