package smtpd

import (
	"slices"
	"strings"
	"time"
)

// budget counts what a session costs and does not bring. The guard's lock is held. A session of LMTP has none: its client
// is the operator's own.
type budget struct {
	commands int   // since the last message that was taken
	surplus  int   // forward-paths beyond what a message may have, since then; none of commands
	paid     int64 // octets that had come by then
	errors   int   // replies of 5xx
	unknown  int   // forward-paths that were refused
	beyond   bool  // the reply that comes is to one of those
	judged   bool  // this command has been counted
	pause    bool  // the next reply is late
}

// surplusShare is how many surplus forward-paths count as one of Policy.MaxCommands. A sender that splits no message
// names all its recipients, sends the message for those that were taken, and the rest in another transaction (RFC 5321
// section 4.5.3.1.10): sent away before its DATA it would never get on.
const surplusShare = 10

// charge counts one reply. A command may have several: the first is for the command.
func (b *budget) charge(verb string, code int) {
	if b.judged {
		return
	}
	b.judged = true
	if b.beyond {
		b.beyond = false
		b.surplus++
		return
	}
	b.commands++
	switch {
	case verb == "RCPT" && code == 550: // there is no such mailbox here, or not for this client
		b.unknown++
	case code >= 500:
		b.errors++
	}
}

// spent returns what is said to a session that has used up its budget, and noKind to one that has not. Beyond half of what
// it may do wrong, replies come late.
func (b *budget) spent(r *rules, octets int64) kind {
	b.judged = false
	b.pause = 2*b.errors >= r.MaxErrors || 2*b.unknown >= r.MaxUnknown
	switch {
	case b.errors >= r.MaxErrors:
		return tooManyErrors
	case b.unknown >= r.MaxUnknown:
		return tooManyUnknown
	case b.commands+b.surplus/surplusShare >= r.MaxCommands, octets-b.paid > max(r.MaxWasted, r.wireBudget()):
		return tooMuchWasted
	}
	return noKind
}

// credit is a message that was taken.
func (g *guard) credit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.budget.commands, g.budget.surplus, g.budget.paid = 0, 0, g.in
}

// surplus says that the command under way is a forward-path beyond what a message may have.
func (g *guard) surplus() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.budget.beyond = true
}

// pause holds up a reply of a session that does much wrong. Nobody else waits for it, and stop ends it.
func (g *guard) pause(late bool) {
	if !late {
		return
	}
	g.flush()
	t := time.NewTimer(g.rules.Tarpit)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.woken:
	}
}

// listenFirst waits for a moment before the greeting, and ends the session of a client that does not: it speaks another
// protocol, or does not care what it is told (RFC 5321 section 3.1 has the server speak first).
func (g *guard) listenFirst() {
	g.mu.Lock()
	if !g.stopping {
		g.raw.SetReadDeadline(time.Now().Add(g.rules.GreetingDelay))
	}
	g.mu.Unlock()
	var first [1]byte
	n, err := g.raw.Read(first[:])
	g.afterRead(n, err)
	if n > 0 {
		g.abort(ending{reason: endProtocol, reply: earlyTalk, silent: first[0] == tlsRecord})
	}
}

// tlsRecord is the first octet of a TLS handshake (RFC 8446 section 5.1). No command begins with it.
const tlsRecord = 22

// isHTTP tells whether a command line is a request of HTTP. A web page can make a browser send one here, with commands in
// its body.
func isHTTP(line string) bool {
	method, _, ok := strings.Cut(line, " ")
	return ok && slices.Contains(httpMethods(), method)
}

func httpMethods() []string {
	return []string{"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PRI"}
}
