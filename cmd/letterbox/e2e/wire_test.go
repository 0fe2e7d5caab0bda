package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// conn is one connection of the tests' own SMTP and POP3 client, which changes no octet of what it sends and gets.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(10 * patience))
	return &conn{Conn: c, r: bufio.NewReader(c)}, nil
}

// line reads one line without its CRLF.
func (c *conn) line() (string, error) {
	s, err := c.r.ReadString('\n')
	return strings.TrimSuffix(s, "\r\n"), err
}

// replyError is a reply other than the one wanted.
type replyError struct{ got string }

func (e *replyError) Error() string { return "reply " + e.got }

// code is the SMTP code of the reply.
func (e *replyError) code() int {
	n, _ := strconv.Atoi(e.got[:min(3, len(e.got))])
	return n
}

// reply reads one SMTP reply, and returns the last line's text if the reply begins with want.
func (c *conn) reply(want string) (string, error) {
	for {
		l, err := c.line()
		if err != nil {
			return "", err
		}
		if len(l) > 3 && l[3] == '-' {
			continue
		}
		if !strings.HasPrefix(l, want) {
			return l, &replyError{l}
		}
		return l, nil
	}
}

// smtp sends one command and wants a reply that begins with want.
func (c *conn) smtp(want, format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(c, format+"\r\n", args...); err != nil {
		return "", err
	}
	return c.reply(want)
}

// dialSMTP connects and says EHLO.
func dialSMTP(addr string) (*conn, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	if _, err = c.reply("220"); err == nil {
		_, err = c.smtp("250", "EHLO client.example")
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// deliver sends one message and returns the id that the 250 names.
func (c *conn) deliver(raw []byte, rcpts ...string) (id string, err error) {
	if _, err := c.smtp("250", "MAIL FROM:<%s>", sender); err != nil {
		return "", err
	}
	for _, to := range rcpts {
		if _, err := c.smtp("250", "RCPT TO:<%s>", to); err != nil {
			return "", err
		}
	}
	if _, err := c.smtp("354", "DATA"); err != nil {
		return "", err
	}
	if _, err := c.Write(dotStuffed(raw)); err != nil {
		return "", err
	}
	reply, err := c.reply("250")
	if err != nil {
		return "", err
	}
	return queuedID(reply)
}

func queuedID(reply string) (string, error) {
	id := regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}`).FindString(reply)
	if id == "" {
		return "", fmt.Errorf("no id in %q", reply)
	}
	return id, nil
}

// pop sends one POP3 command and wants +OK.
func (c *conn) pop(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(c, format+"\r\n", args...); err != nil {
		return "", err
	}
	return c.ok()
}

// ok reads the first line of an answer and wants +OK.
func (c *conn) ok() (string, error) {
	l, err := c.line()
	if err == nil && !strings.HasPrefix(l, "+OK") {
		err = &replyError{l}
	}
	return l, err
}

// body reads a multi-line answer up to its end and takes the dot-stuffing off (RFC 1939 section 3).
func (c *conn) body() ([]byte, error) {
	var b bytes.Buffer
	for {
		l, err := c.r.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case string(l) == ".\r\n":
			return b.Bytes(), nil
		}
		b.Write(bytes.TrimPrefix(l, []byte(".")))
	}
}

// dialPOP connects and logs in.
func dialPOP(addr, user string) (*conn, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	if _, err = c.ok(); err == nil {
		_, err = c.pop("USER %s", user)
	}
	if err == nil {
		_, err = c.pop("PASS %s", password)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// fetched is one message as POP3 gave it out.
type fetched struct {
	uidl string
	raw  []byte
}

// drain fetches and deletes everything that waits for user, and checks the sizes that LIST and STAT promise.
func drain(t *testing.T, s *server, user string) []fetched {
	t.Helper()
	all, err := tryDrain(s, user)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// tryDrain is drain for any goroutine.
func tryDrain(s *server, user string) ([]fetched, error) {
	c, err := dialPOP(s.addr["pop3"], user)
	if err != nil {
		return nil, fmt.Errorf("login of %s: %w", user, err)
	}
	defer c.Close()
	all, err := c.drain()
	if err != nil {
		return nil, fmt.Errorf("drain of %s: %w", user, err)
	}
	return all, nil
}

func (c *conn) drain() ([]fetched, error) {
	var messages, octets, total int
	stat, err := c.pop("STAT")
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Sscanf(stat, "+OK %d %d", &messages, &octets); err != nil {
		return nil, fmt.Errorf("%q: %w", stat, err)
	}
	all := make([]fetched, 0, messages)
	for i := 1; i <= messages; i++ {
		one, err := c.take(i)
		if err != nil {
			return nil, err
		}
		total += len(one.raw)
		all = append(all, one)
	}
	if total != octets {
		return nil, fmt.Errorf("STAT said %d octets, got %d", octets, total)
	}
	_, err = c.pop("QUIT")
	return all, err
}

// take fetches message i and marks it deleted.
func (c *conn) take(i int) (fetched, error) {
	var number, octets int
	var one fetched
	list, err := c.pop("LIST %d", i)
	if err != nil {
		return one, err
	}
	uidl, err := c.pop("UIDL %d", i)
	if err != nil {
		return one, err
	}
	if _, err := fmt.Sscanf(list, "+OK %d %d", &number, &octets); err != nil {
		return one, fmt.Errorf("%q: %w", list, err)
	}
	if _, err := fmt.Sscanf(uidl, "+OK %d %s", &number, &one.uidl); err != nil {
		return one, fmt.Errorf("%q: %w", uidl, err)
	}
	if _, err := c.pop("RETR %d", i); err != nil {
		return one, err
	}
	if one.raw, err = c.body(); err != nil {
		return one, err
	}
	if len(one.raw) != octets {
		return one, fmt.Errorf("LIST said %d octets, RETR sent %d", octets, len(one.raw))
	}
	_, err = c.pop("DELE %d", i)
	return one, err
}

// put delivers raw to each of rcpts by the tests' own client.
func put(t *testing.T, s *server, raw []byte, rcpts ...string) (id string) {
	t.Helper()
	c, err := dialSMTP(s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if id, err = c.deliver(raw, rcpts...); err != nil {
		t.Fatal(err)
	}
	if _, err := c.smtp("221", "QUIT"); err != nil {
		t.Fatal(err)
	}
	return id
}

// beginData opens a session and begins a message with its header.
func beginData(addr string) (*conn, error) {
	c, err := dialSMTP(addr)
	if err != nil {
		return nil, err
	}
	for _, step := range [][2]string{{"250", "MAIL FROM:<" + sender + ">"}, {"250", "RCPT TO:<" + alice + ">"}, {"354", "DATA"}} {
		if _, err = c.smtp(step[0], "%s", step[1]); err != nil {
			break
		}
	}
	if err == nil {
		_, err = io.WriteString(c, header)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}
