package smtpd

import (
	"net"
	"testing"
)

// TestHangUpAfterQuit: a client that said QUIT and does not wait for the 221 has quit; one that did not say it has not.
func TestHangUpAfterQuit(t *testing.T) {
	for verb, want := range map[string]string{"QUIT": endQuit, "RSET": endError} {
		a, b := net.Pipe()
		b.Close()
		g := newGuard(a, "x", newRules(Policy{}))
		g.tap.verb = verb
		g.fail(ending{reason: endError, silent: true})
		if got := g.reason(); got != want {
			t.Errorf("after %s: %s, want %s", verb, got, want)
		}
		g.Close()
		a.Close()
	}
}
