package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// POP3 is a client of POP3 (RFC 1939), for one goroutine at a time.
type POP3 struct {
	c *conn
	// waiting are the verbs of commands whose answers have not been read yet.
	waiting []string
	// messages is how many there are, as the last Stat said.
	messages int
}

// StatusError is a `-ERR`. The connection can be used on.
type StatusError struct {
	Command string // a verb, or `greeting`
	Text    string // what stands behind -ERR, the response code of RFC 2449 included
}

func (e *StatusError) Error() string { return fmt.Sprintf("%s: -ERR %s", e.Command, e.Text) }

// Code is the response code (RFC 2449 section 8) with its brackets, empty where there is none.
func (e *StatusError) Code() string {
	if end := strings.IndexByte(e.Text, ']'); end > 0 && e.Text[0] == '[' {
		return e.Text[:end+1]
	}
	return ""
}

// DialPOP3 connects, waits for the greeting, and starts TLS where o says so. The end of ctx closes the connection. It fails
// with *StatusError where the server refuses.
func DialPOP3(ctx context.Context, o Options) (*POP3, error) {
	c, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	p := &POP3{c: c}
	if err := p.greet(); err != nil {
		c.close()
		return nil, err
	}
	return p, nil
}

func (p *POP3) greet() error {
	if _, err := p.status("greeting"); err != nil || p.c.o.Security != StartTLS {
		return err
	}
	if err := p.Do("STLS"); err != nil {
		return err
	}
	return p.c.handshake()
}

// Capabilities asks for what the server offers (CAPA, RFC 2449 section 5): keywords in capitals, with their parameters.
func (p *POP3) Capabilities() (map[string]string, error) {
	offered := map[string]string{}
	if err := p.Do("CAPA"); err != nil {
		return nil, err
	}
	err := p.lines(maxCapabilities, func(line string) error {
		keyword, rest, _ := strings.Cut(line, " ")
		offered[strings.ToUpper(keyword)] = rest
		return nil
	})
	return offered, err
}

// Login logs in by USER and PASS.
func (p *POP3) Login(user, password string) error {
	if err := p.Do("USER " + user); err != nil {
		return err
	}
	return p.Do("PASS " + password)
}

// Stat returns how many messages wait, and their octets.
func (p *POP3) Stat() (messages int, octets int64, err error) {
	if err := p.Queue("STAT"); err != nil {
		return 0, 0, err
	}
	text, err := p.next()
	if err != nil {
		return 0, 0, err
	}
	if messages, octets, err = pair(text); err != nil {
		return 0, 0, broken("STAT: %.80q", text)
	}
	p.messages = messages
	return messages, octets, nil
}

// What a server may list, in octets, and so the memory for it: of capabilities, and of a maildrop's messages, which may be
// three million.
const (
	maxCapabilities = 64 << 10
	maxListing      = 256 << 20
)

// Sizes returns the octets of each message by LIST, that of message 1 at index 0.
func (p *POP3) Sizes() ([]int64, error) {
	if err := p.Do("LIST"); err != nil {
		return nil, err
	}
	sizes := make([]int64, 0, p.expected())
	err := p.lines(maxListing, func(line string) error {
		n, octets, err := pair(line)
		if err != nil || n != len(sizes)+1 {
			return broken("LIST: %.80q as line %d", line, len(sizes)+1)
		}
		sizes = append(sizes, octets)
		return nil
	})
	return sizes, err
}

// UIDLs returns the unique id of each message, that of message 1 at index 0.
func (p *POP3) UIDLs() ([]string, error) {
	if err := p.Do("UIDL"); err != nil {
		return nil, err
	}
	ids := make([]string, 0, p.expected())
	err := p.lines(maxListing, func(line string) error {
		number, id, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(number); err != nil || n != len(ids)+1 || len(id) < 1 || len(id) > 70 {
			return broken("UIDL: %.80q as line %d", line, len(ids)+1)
		}
		ids = append(ids, id)
		return nil
	})
	return ids, err
}

// expected is for how many lines of a listing there is to be room at first: what STAT said, within reason.
func (p *POP3) expected() int { return min(p.messages, 1<<20) }

// Retrieve copies message n to w as it came, and returns its octets.
func (p *POP3) Retrieve(n int, w io.Writer) (int64, error) {
	if err := p.Queue("RETR " + strconv.Itoa(n)); err != nil {
		return 0, err
	}
	return p.Content(w)
}

// Delete marks message n. It is gone after Quit.
func (p *POP3) Delete(n int) error { return p.Do("DELE " + strconv.Itoa(n)) }

// Quit says QUIT and waits for the answer: only nil means that all that was marked is deleted. It closes.
func (p *POP3) Quit() error { return firstError(p.Do("QUIT"), p.Close()) }

// Close ends the connection without a word. Nothing is deleted.
func (p *POP3) Close() error { return p.c.close() }

// Do sends one command and reads the line that answers it.
func (p *POP3) Do(command string) error {
	if err := p.Queue(command); err != nil {
		return err
	}
	_, err := p.next()
	return err
}

// Queue sends commands in one write where they fit, and reads nothing: Answer or Content read what comes for each, in
// order. More than one at a time wants a server that offers PIPELINING (RFC 2449 section 6.6).
func (p *POP3) Queue(commands ...string) error {
	for _, command := range commands {
		p.waiting = append(p.waiting, verb(command))
	}
	return p.c.send(commands...)
}

// Answer reads the line that answers the oldest command queued.
func (p *POP3) Answer() error {
	_, err := p.next()
	return err
}

// Content reads the answer to the oldest command queued, a RETR or TOP, copies the message to w, and returns its octets.
func (p *POP3) Content(w io.Writer) (int64, error) {
	if _, err := p.next(); err != nil {
		return 0, err
	}
	return p.c.content(w)
}

func (p *POP3) next() (text string, err error) {
	if len(p.waiting) == 0 {
		return "", errors.New("no command waits for an answer")
	}
	verb := p.waiting[0]
	p.waiting = p.waiting[1:]
	return p.status(verb)
}

// status reads a status line and returns its text.
func (p *POP3) status(command string) (string, error) {
	line, err := p.c.line()
	if err != nil {
		return "", err
	}
	status, text, _ := strings.Cut(string(line), " ")
	switch status {
	case "+OK":
		return text, nil
	case "-ERR":
		return "", &StatusError{command, text}
	}
	return "", broken("%s was answered with %.80q", command, line)
}

// lines reads a multi-line answer, which has bound octets at most, to its end, and calls each for every line of it as it comes.
func (p *POP3) lines(bound int, each func(line string) error) error {
	l := &listing{left: bound, each: each}
	if _, err := p.c.content(l); err != nil {
		return err
	}
	if l.wrong == nil && l.part != "" {
		return each(l.part)
	}
	return l.wrong
}

// listing takes the content of a list apart, of a bounded number of octets.
type listing struct {
	each func(line string) error
	left int
	// wrong is what is not right in a line: what follows is read, so that the connection can be used on, and not looked at.
	wrong error
	part  string // the beginning of a line that has not come whole, at most maxLine octets
}

// Write makes one string of all lines that come together: lines that are kept keep it, and cost no memory each.
func (l *listing) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, broken("a list that does not end")
	}
	rest := l.part + string(b)
	for l.wrong == nil {
		end := strings.IndexByte(rest, '\n')
		switch {
		case end > maxLine, end < 0 && len(rest) > maxLine:
			return 0, ErrLongLine
		case end < 0:
			l.part = rest
			return len(b), nil
		}
		l.wrong = l.each(strings.TrimSuffix(rest[:end], "\r"))
		rest = rest[end+1:]
	}
	return len(b), nil
}

// pair reads two numbers at the start of text; more may stand behind them (RFC 1939 section 5).
func pair(text string) (int, int64, error) {
	first, rest, _ := strings.Cut(text, " ")
	second, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(first, 10, 31)
	if err != nil {
		return 0, 0, err
	}
	octets, err := strconv.ParseUint(second, 10, 63)
	return int(n), int64(octets), err
}
