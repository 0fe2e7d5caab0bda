package pop3d

import (
	"errors"
	"strconv"

	"example.org/letterbox/store"
)

// respCode is a response code without its brackets (RFC 2449 section 8).
type respCode string

const (
	codeNone       respCode = ""
	codeAuth       respCode = "AUTH"        // RFC 3206 section 5
	codeLoginDelay respCode = "LOGIN-DELAY" // RFC 2449 section 8.1.1
	codeInUse      respCode = "IN-USE"      // RFC 2449 section 8.1.2
	codeTemporary  respCode = "SYS/TEMP"    // RFC 3206 section 4
	codePermanent  respCode = "SYS/PERM"    // RFC 3206 section 4
)

// reply is what a handler returns. Its texts are ours: no octet of a client and no text of an error goes in.
type reply struct {
	ok   bool
	code respCode
	text string
	// body writes the lines behind the first one, with the final dot. When it fails before any octet left, the whole
	// reply is replaced by a negative one, else the connection is cut.
	body func(s *session, message int) error
	// message is the index of the message that body is about, if it is about one.
	message int
	// octets stand in front of text, if sized is set.
	octets int64
	sized  bool
	// bad says that the command was unknown, malformed or out of place, which only so many may be.
	bad bool
	// end says that the session is over once this reply is out.
	end end
	// mute says that there is nothing to answer: the client is gone, or RFC 1939 section 3 forbids it.
	mute bool
	// then runs once the reply has left, with nothing else of the client's seen.
	then func() reply
}

func positive(text string) reply { return reply{ok: true, text: text} }

func negative(code respCode, text string) reply { return reply{code: code, text: text} }

// rejected answers a command that is not as the RFC has it.
func rejected(text string) reply { return reply{text: text, bad: true} }

// over ends the session without a word.
func over(why end) reply { return reply{mute: true, end: why} }

// status writes the first line.
func (w *writer) status(r reply) {
	if r.ok {
		w.text("+OK")
	} else {
		w.text("-ERR")
	}
	if r.code != codeNone {
		w.text(" [" + string(r.code) + "]")
	}
	switch {
	case r.sized:
		w.ensure(len(" ") + 20 + len(r.text))
		w.buf = append(strconv.AppendInt(append(w.buf, ' '), r.octets, 10), r.text...)
	case r.text != "":
		w.text(" ")
		w.text(r.text)
	}
	w.text("\r\n")
}

// storeFailed answers a command that the store could not serve.
func storeFailed(err error) reply {
	if errors.Is(err, store.ErrCorrupt) {
		return negative(codePermanent, "this message is damaged on the server's disk")
	}
	return negative(codeTemporary, "the mail store can't do that now, try again later")
}
