package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// SMTP is a client of SMTP or LMTP (RFC 5321, RFC 2033), for one goroutine at a time.
type SMTP struct {
	c    *conn
	lmtp bool
	name string
	// Extensions are those of the last EHLO, in capitals, with their parameters.
	Extensions map[string]string
}

// Reply is an answer of SMTP: its code, and the text of its last line.
type Reply struct {
	Code int
	Text string
}

// ReplyError is a reply that refuses. The connection can be used on, but after 421.
type ReplyError struct {
	Command string // what was refused: a verb, `greeting` or `end of data`
	Reply
}

func (e *ReplyError) Error() string { return fmt.Sprintf("%s: %d %s", e.Command, e.Code, e.Text) }

// Envelope is what a message is sent under.
type Envelope struct {
	From string   // empty: the null reverse-path
	To   []string // at least one
	// Pipeline sends MAIL, RCPT and DATA in one write (RFC 2920), which the server must have offered.
	Pipeline bool
}

// DialSMTP connects, waits for the greeting, starts TLS where o says so, and greets under name: by LHLO where lmtp is set.
// The end of ctx closes the connection. It fails with *ReplyError where the server refuses.
func DialSMTP(ctx context.Context, o Options, name string, lmtp bool) (*SMTP, error) {
	c, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &SMTP{c: c, lmtp: lmtp, name: name}
	if err := s.greet(); err != nil {
		c.close()
		return nil, err
	}
	return s, nil
}

func (s *SMTP) greet() error {
	if err := s.expect("greeting", 220); err != nil {
		return err
	}
	if err := s.hello(); err != nil || s.c.o.Security != StartTLS {
		return err
	}
	if _, ok := s.Extensions["STARTTLS"]; !ok {
		return fmt.Errorf("%w: %w", ErrTLS, broken("it does not offer STARTTLS"))
	}
	if err := s.command("STARTTLS", 220); err != nil {
		return err
	}
	if err := s.c.handshake(); err != nil {
		return err
	}
	return s.hello() // RFC 3207 section 4.2: what was offered in clear is void
}

func (s *SMTP) hello() error {
	verb := "EHLO"
	if s.lmtp {
		verb = "LHLO"
	}
	if err := s.c.send(verb + " " + s.name); err != nil {
		return err
	}
	s.Extensions = map[string]string{}
	first := true
	reply, err := s.reply(func(line string) {
		if !first {
			keyword, rest, _ := strings.Cut(line, " ")
			s.Extensions[strings.ToUpper(keyword)] = rest
		}
		first = false
	})
	return refused(verb, reply, 250, err)
}

// Send sends one message. It returns nil only when the message was accepted for every recipient. Content is written with
// CRLF at each line's end and without stuffing. After a *ReplyError the transaction is over, and another may begin;
// after any other error the connection is of no use.
func (s *SMTP) Send(e Envelope, content io.WriterTo) error {
	accepted, refusal, err := s.envelope(e)
	if err != nil {
		return err
	}
	if accepted == 0 {
		return refusal
	}
	stuffed := newStuffer(s.c.w)
	if _, err := content.WriteTo(stuffed); err != nil {
		return fmt.Errorf("content: %w", err)
	}
	if err := stuffed.end(); err != nil {
		return err
	}
	replies := 1
	if s.lmtp {
		replies = accepted // RFC 2033 section 4.2: one for each recipient that was accepted
	}
	for range replies {
		if err := s.expect("end of data", 250); !keep(&refusal, err) {
			return err
		}
	}
	return refusal
}

// envelope goes as far as 354, and says how many recipients were accepted. Where it is none, no content is due. Refusal is
// the first *ReplyError; err is any other.
func (s *SMTP) envelope(e Envelope) (accepted int, refusal, err error) {
	lines := []string{"MAIL FROM:<" + e.From + ">"}
	for _, to := range e.To {
		lines = append(lines, "RCPT TO:<"+to+">")
	}
	if e.Pipeline {
		return s.pipelined(append(lines, "DATA"))
	}
	for i, line := range lines {
		err := s.command(line, 250)
		if !keep(&refusal, err) {
			return 0, nil, err
		}
		if i == 0 && err != nil {
			return 0, refusal, nil // no transaction was begun
		}
		if i > 0 && err == nil {
			accepted++
		}
	}
	if accepted == 0 {
		return 0, refusal, s.Reset()
	}
	if err := s.command("DATA", 354); err != nil {
		if !keep(&refusal, err) {
			return 0, nil, err
		}
		return 0, refusal, s.Reset()
	}
	return accepted, refusal, nil
}

// pipelined sends all of the envelope at once. A server that says 354 though it accepted nobody gets an empty message (RFC
// 2920 section 3.1).
func (s *SMTP) pipelined(lines []string) (accepted int, refusal, err error) {
	if err := s.c.send(lines...); err != nil {
		return 0, nil, err
	}
	for i, line := range lines[:len(lines)-1] {
		err := s.expect(verb(line), 250)
		if !keep(&refusal, err) {
			return 0, nil, err
		}
		if i > 0 && err == nil {
			accepted++
		}
	}
	err = s.expect("DATA", 354)
	if !keep(&refusal, err) {
		return 0, nil, err
	}
	switch {
	case err == nil && accepted == 0:
		if err := s.command(".", 250); !keep(&refusal, err) {
			return 0, nil, err
		}
	case err != nil:
		return 0, refusal, s.Reset()
	}
	return accepted, refusal, nil
}

// keep puts the first refusal into first, and tells whether the connection can be used on.
func keep(first *error, err error) bool {
	if err == nil {
		return true
	}
	reply := (*ReplyError)(nil)
	if !errors.As(err, &reply) || reply.Code == 421 {
		return false
	}
	if *first == nil {
		*first = err
	}
	return true
}

// Reset ends a transaction (RSET).
func (s *SMTP) Reset() error { return s.command("RSET", 250) }

// Quit says QUIT, waits for the answer, and closes.
func (s *SMTP) Quit() error {
	return firstError(s.command("QUIT", 221), s.Close())
}

// Close ends the connection without a word.
func (s *SMTP) Close() error { return s.c.close() }

func (s *SMTP) command(line string, want int) error {
	if err := s.c.send(line); err != nil {
		return err
	}
	return s.expect(verb(line), want)
}

func (s *SMTP) expect(command string, want int) error {
	reply, err := s.reply(nil)
	return refused(command, reply, want, err)
}

func refused(command string, r Reply, want int, err error) error {
	switch {
	case err != nil:
		return err
	case r.Code/100 == want/100:
		return nil
	case r.Code/100 == 4 || r.Code/100 == 5:
		return &ReplyError{command, r}
	}
	return broken("it answered %s with %d", command, r.Code)
}

// reply reads one reply (RFC 5321 section 4.2.1), and gives each line's text to each, which may be nil.
func (s *SMTP) reply(each func(line string)) (Reply, error) {
	for n := 0; n < maxReply; n++ {
		line, err := s.c.line()
		if err != nil {
			return Reply{}, err
		}
		code, text, last, err := replyLine(line)
		if err != nil {
			return Reply{}, err
		}
		if each != nil {
			each(string(text))
		}
		if last {
			return Reply{code, replyText(code, text)}, nil
		}
	}
	return Reply{}, broken("a reply of more than %d lines", maxReply)
}

// replyLine takes one line of a reply apart. The text may be missing, and the blank with it.
func replyLine(line []byte) (code int, text []byte, last bool, err error) {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, nil, false, broken("no reply: %.80q", line)
	}
	n, err := strconv.ParseUint(string(line[:3]), 10, 16)
	if err != nil || n < 200 || n > 599 {
		return 0, nil, false, broken("no reply code: %.80q", line)
	}
	if len(line) == 3 {
		return int(n), nil, true, nil
	}
	return int(n), line[4:], line[3] == ' ', nil
}

// replyText is the text of a reply that somebody may read.
func replyText(code int, text []byte) string {
	if code < 400 {
		return "" // most replies, and nobody reads them
	}
	return string(text)
}

func verb(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return word
}
