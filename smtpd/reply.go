package smtpd

import (
	"errors"
	"fmt"

	"example.org/letterbox/store"
	"github.com/emersion/go-smtp"
)

// kind is one thing that we say to a client on our own account.
type kind uint8

const (
	noKind kind = iota
	temporary
	internal
	badGreeting
	nested
	badSender
	badRecipient
	notASCII
	noDomain
	nullMX
	domainTrouble
	noMailbox
	noRelay
	disabled
	blocked
	overQuota
	full
	tooMany
	tooLarge
	bigHeader
	looping
	bareNewline
	lostEnding
	longLine
	cutOff
	outOfStep
	connectionLost
	tooIdle
	tooSlow
	tooOld
	tooManyErrors
	tooManyUnknown
	tooMuchWasted
	earlyTalk
	notSMTP
	shuttingDown
	tooBusy
	lastKind = tooBusy
)

// words is the table of our replies: the code (RFC 5321 section 4.2), the enhanced code (RFC 3463) and the text. None of
// them holds a client's octets, nor what the store said.
func (k kind) words() (code int, enhanced smtp.EnhancedCode, text string) {
	switch k {
	case internal:
		return 421, smtp.EnhancedCode{4, 3, 0}, "internal error, closing"
	case badGreeting:
		return 501, smtp.EnhancedCode{5, 5, 4}, "the name in the greeting is over 255 octets or holds control characters"
	case nested:
		return 503, smtp.EnhancedCode{5, 5, 1}, "a message is under way: RSET first"
	case badSender:
		return 501, smtp.EnhancedCode{5, 1, 7}, "the reverse-path is no address"
	case badRecipient:
		return 553, smtp.EnhancedCode{5, 1, 3}, "the forward-path is no address"
	case notASCII:
		return 553, smtp.EnhancedCode{5, 6, 7}, "an address that is not ASCII needs SMTPUTF8"
	case noDomain:
		return 550, smtp.EnhancedCode{5, 1, 8}, "the domain of the reverse-path does not exist"
	case nullMX: // RFC 7505 section 4.2
		return 550, smtp.EnhancedCode{5, 7, 27}, "the domain of the reverse-path takes no mail"
	case noMailbox:
		return 550, smtp.EnhancedCode{5, 1, 1}, "no such mailbox"
	case noRelay:
		return 550, smtp.EnhancedCode{5, 7, 1}, "that domain is not here, and nothing is relayed"
	case disabled:
		return 550, smtp.EnhancedCode{5, 2, 1}, "mailbox is disabled"
	case blocked:
		return 550, smtp.EnhancedCode{5, 7, 1}, "mail from there is not taken"
	case overQuota:
		return 452, smtp.EnhancedCode{4, 2, 2}, "mailbox is full"
	case full:
		return 452, smtp.EnhancedCode{4, 3, 1}, "no room for this message now"
	case tooMany:
		return 452, smtp.EnhancedCode{4, 5, 3}, "too many recipients for one message"
	case tooLarge:
		return 552, smtp.EnhancedCode{5, 3, 4}, "message is too large"
	case bigHeader:
		return 552, smtp.EnhancedCode{5, 3, 4}, "the header is too long or has too many fields"
	case looping: // RFC 5321 section 6.3
		return 554, smtp.EnhancedCode{5, 4, 6}, "the message goes in circles"
	case bareNewline:
		return 550, smtp.EnhancedCode{5, 6, 0}, "message has a CR or LF that stands alone"
	case lostEnding:
		return 550, smtp.EnhancedCode{5, 6, 0}, "message ends in CR CR LF, which is no end"
	case longLine:
		return 550, smtp.EnhancedCode{5, 6, 0}, "message has a line that is too long"
	case earlyTalk: // RFC 5321 section 3.1
		return 554, smtp.EnhancedCode{5, 5, 1}, "you spoke before the greeting, closing"
	case notSMTP:
		return 554, smtp.EnhancedCode{5, 5, 1}, "this is SMTP, closing"
	default:
		return k.closingWords()
	}
}

// closingWords are those that come with a 4xx: the client may try again.
func (k kind) closingWords() (code int, enhanced smtp.EnhancedCode, text string) {
	switch k {
	case domainTrouble:
		return 451, smtp.EnhancedCode{4, 4, 3}, "can't look up the domain of the reverse-path now"
	case cutOff:
		return 451, smtp.EnhancedCode{4, 5, 0}, "message was cut off"
	case outOfStep:
		return 421, smtp.EnhancedCode{4, 5, 0}, "can't follow any further, closing"
	case connectionLost:
		return 421, smtp.EnhancedCode{4, 4, 2}, "connection was lost"
	case tooIdle:
		return 421, smtp.EnhancedCode{4, 4, 2}, "idle for too long, closing"
	case tooSlow:
		return 421, smtp.EnhancedCode{4, 4, 2}, "too slow, closing"
	case tooOld:
		return 421, smtp.EnhancedCode{4, 4, 2}, "connected for too long, closing"
	case tooManyErrors:
		return 421, smtp.EnhancedCode{4, 7, 0}, "too many errors, closing"
	case tooManyUnknown:
		return 421, smtp.EnhancedCode{4, 7, 0}, "too many unknown recipients, closing"
	case tooMuchWasted:
		return 421, smtp.EnhancedCode{4, 7, 0}, "too much without a message, closing"
	case shuttingDown:
		return 421, smtp.EnhancedCode{4, 3, 2}, "shutting down, try again soon"
	case tooBusy:
		return 421, smtp.EnhancedCode{4, 3, 2}, "too busy, try again later"
	default:
		return 451, smtp.EnhancedCode{4, 3, 0}, "can't say now, try again later"
	}
}

// line returns the reply as it goes over the wire, for where go-smtp does not write it.
func (k kind) line(sid string) string {
	code, e, text := k.words()
	return replyLine(code, e, signed(text, sid))
}

func replyLine(code int, e smtp.EnhancedCode, text string) string {
	return fmt.Sprintf("%d %d.%d.%d %s\r\n", code, e[0], e[1], e[2], text)
}

// signed adds the session's id, which leads from a sender's bounce to our log.
func signed(text, sid string) string { return text + " (session " + sid + ")" }

// refusal is an error for which we know what to say. The cause is for the log alone.
type refusal struct {
	kind  kind
	cause error
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return r.cause.Error()
	}
	_, _, text := r.kind.words()
	return text
}

func (r *refusal) Unwrap() error { return r.cause }

func refuse(k kind) error { return &refusal{kind: k} }

// kindOf returns what is said for err. What has no words of its own is temporary: only what we know for certain may make a
// sender give up.
func kindOf(err error) kind {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r.kind
	case errors.Is(err, store.ErrNoMaildrop):
		return noMailbox
	case errors.Is(err, store.ErrNotLocal):
		return noRelay
	case errors.Is(err, store.ErrDisabled):
		return disabled
	case errors.Is(err, store.ErrBlocked):
		return blocked
	case errors.Is(err, store.ErrOverQuota):
		return overQuota
	case errors.Is(err, store.ErrFull):
		return full
	default:
		return temporary
	}
}

// smtpError turns every error into one that go-smtp sends as it is. Anything else it would send with the error's text, and
// after DATA as permanent; it does not look into wrapped errors.
func smtpError(err error, sid string) error {
	if err == nil {
		return nil
	}
	code, enhanced, text := kindOf(err).words()
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: signed(text, sid)}
}

// recipientLabel is a refused forward-path's label.
func (k kind) recipientLabel() string {
	switch k {
	case noMailbox:
		return "unknown"
	case noRelay:
		return "not-local"
	case disabled:
		return "disabled"
	case blocked:
		return "blocked"
	case overQuota:
		return "over-quota"
	case full:
		return "full"
	case tooMany:
		return "too-many"
	case badRecipient, notASCII:
		return "syntax"
	default:
		return "temporary"
	}
}

// messageLabels are a message's result and reason.
func (k kind) messageLabels() (result, reason string) {
	switch k {
	case noKind:
		return accepted, "none"
	case tooLarge:
		return rejected, "size"
	case bareNewline, lostEnding:
		return rejected, "newlines"
	case bigHeader, looping:
		return rejected, "header"
	case longLine:
		return rejected, "protocol"
	case full:
		return deferred, "full"
	case cutOff, connectionLost:
		return aborted, "disconnect"
	case tooIdle, tooSlow, tooOld:
		return aborted, "timeout"
	case shuttingDown:
		return aborted, "shutdown"
	case outOfStep:
		return aborted, "protocol"
	default:
		return deferred, "store"
	}
}
