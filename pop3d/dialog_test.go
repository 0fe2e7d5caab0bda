package pop3d

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// TestDialogs runs every file of testdata/dialogs over a loopback connection. A file has one step a line:
//
//	# a remark
//	! messages 3        what is so before it begins: see setup
//	C: DELE 1           the client sends this line
//	C" "PASS  x \r\n"   the client sends exactly this, a quoted Go string
//	S: +OK              the server sends exactly this line
//	S~ ^\+OK            or one that matches
//	H:                  the client makes a TLS handshake
//	S" "\x80\r\n"       the server sends exactly this, a quoted Go string
//	X:                  the server closes the connection
//	+ A: b\r\n\r\n      mail arrives, a quoted Go string without its quotes; its UIDL is late
//	= left 1 3          once the session is over: the messages that are there
//	= end quit          and why it ended
//
// What stands in several C lines without an S between them is sent in one write.
func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogs/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			(&dialog{t: t, steps: strings.Split(string(text), "\n")}).run()
		})
	}
}

// dialog is one run of one file.
type dialog struct {
	t      *testing.T
	steps  []string
	at     int // the line, from 1
	store  *fakeStore
	bench  *bench
	client *client
	unsent strings.Builder
	reason string
}

func (d *dialog) fail(format string, args ...any) {
	d.t.Helper()
	d.t.Fatalf("line %d: %s", d.at, fmt.Sprintf(format, args...))
}

func (d *dialog) run() {
	rest := d.setup()
	for _, step := range rest {
		d.at++
		sort, text, _ := strings.Cut(step, " ")
		if sort != "C:" && sort != `C"` && sort != "" && sort != "#" {
			d.flush()
		}
		d.step(sort, text)
	}
}

func (d *dialog) flush() {
	if d.unsent.Len() > 0 {
		d.client.send(d.unsent.String())
		d.unsent.Reset()
	}
}

func (d *dialog) step(sort, text string) {
	d.t.Helper()
	switch sort {
	case "", "#":
	case "C:":
		d.unsent.WriteString(text + "\r\n")
	case `C"`:
		raw, err := strconv.Unquote(text)
		if err != nil {
			d.fail("%v", err)
		}
		d.unsent.WriteString(raw)
	case "S:":
		if got := d.client.line(); got != text {
			d.fail("got %q, want %q", got, text)
		}
	case `S"`:
		want, err := strconv.Unquote(text)
		if err != nil {
			d.fail("%v", err)
		}
		if got := d.client.line() + "\r\n"; got != want {
			d.fail("got %q, want %q", got, want)
		}
	case "S~":
		if got := d.client.line(); !regexp.MustCompile(text).MatchString(got) {
			d.fail("got %q, want a match of %q", got, text)
		}
	case "H:":
		d.client.startTLS()
	case "X:":
		d.client.closed()
	case "+":
		body, err := strconv.Unquote(`"` + text + `"`)
		if err != nil {
			d.fail("%v", err)
		}
		d.store.deliver("late", body)
	case "=":
		d.after(text)
	default:
		d.fail("unknown step %q", sort)
	}
}

// after waits for the session's end, the client's if need be, and looks at what it left.
func (d *dialog) after(text string) {
	if d.reason == "" {
		d.client.conn.Close()
		d.reason = d.bench.seen.end(d.t)
	}
	what, want, _ := strings.Cut(text, " ")
	switch left, locked, _ := d.store.state(); {
	case locked:
		d.fail("the maildrop is still locked")
	case what == "end" && want != d.reason:
		d.fail("it ended with %q", d.reason)
	case what == "left" && strings.ReplaceAll(strings.Join(left, " "), "uid-", "") != want:
		d.fail("left are %q", left)
	}
}

// setup reads the lines with ! and starts the server.
func (d *dialog) setup() []string {
	bodies := standardMail(3)
	login, locked := false, false
	var wrap func(net.Conn) net.Conn
	var options []option
	fake := newFake()
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			d.fail("%v", err)
		}
		return n
	}
	duration := func(text string) time.Duration {
		length, err := time.ParseDuration(text)
		if err != nil {
			d.fail("%v", err)
		}
		return length
	}
	rest := slices.IndexFunc(d.steps, func(s string) bool { return !strings.HasPrefix(s, "!") && !strings.HasPrefix(s, "#") })
	for _, step := range d.steps[:rest] {
		d.at++
		word, text, _ := strings.Cut(strings.TrimPrefix(step, "! "), " ")
		switch word {
		case "messages":
			bodies = standardMail(number(text))
		case "message":
			body, err := strconv.Unquote(text)
			if err != nil {
				d.fail("%v", err)
			}
			bodies = append(bodies, body)
		case "password":
			fake.password = strings.Trim(text, `"`)
		case "login": // begin in the TRANSACTION state
			login = true
		case "far": // the client is on another machine
			wrap = comesFromAfar
		case "locked": // another session has the maildrop
			locked = true
		case "open-fails":
			fake.openErr = map[string]error{
				"throttled": store.ErrThrottled, "busy": store.ErrBusy, "unavailable": store.ErrUnavailable,
				"too-soon": store.ErrLoginDelay,
			}[text]
		case "damaged":
			fake.damaged = number(text)
		case "commit-fails":
			fake.commitErr = store.ErrUnavailable
		case "implicit-tls":
			options = append(options, func(_ *Config, _ *Policy, l *Listener) { l.TLS = true })
		case "tls-in-front":
			options = append(options, func(_ *Config, _ *Policy, l *Listener) { l.TLSInFront = true })
		case "no-certificate":
			options = append(options, func(c *Config, _ *Policy, _ *Listener) { c.TLS = nil })
		case "plaintext":
			options = append(options, func(_ *Config, p *Policy, _ *Listener) { p.Plaintext = text })
		case "max-errors":
			options = append(options, func(_ *Config, p *Policy, _ *Listener) { p.MaxErrors = number(text) })
		case "max-commands":
			options = append(options, func(_ *Config, p *Policy, _ *Listener) { p.MaxCommands = number(text) })
		case "max-command-length":
			options = append(options, func(_ *Config, p *Policy, _ *Listener) { p.MaxCommandLength = number(text) })
		case "expire":
			options = append(options, func(_ *Config, p *Policy, _ *Listener) { p.Expire = duration(text) })
		case "login-delay":
			options = append(options, func(_ *Config, p *Policy, _ *Listener) { p.LoginDelay = duration(text) })
		case "scram":
			options = append(options, func(_ *Config, p *Policy, _ *Listener) { p.SCRAM = true })
		case "no-nuls":
			options = append(options, func(_ *Config, p *Policy, _ *Listener) { p.NoNULs = true })
		case "max-login-failures":
			options = append(options, func(_ *Config, p *Policy, _ *Listener) { p.MaxLoginFailures = number(text) })
		default:
			if strings.HasPrefix(step, "!") {
				d.fail("unknown precondition %q", word)
			}
		}
	}
	fake.mail, fake.locked = newFake(bodies...).mail, locked
	d.store = fake
	d.bench = serveWrapped(d.t, wrap, d.store, options...)
	if login {
		d.client = d.bench.login()
	} else {
		d.client = d.bench.dial()
	}
	return d.steps[rest:]
}

// standardMail returns n messages of 22 octets each, up to 9.
func standardMail(n int) []string {
	var bodies []string
	for i := range n {
		bodies = append(bodies, fmt.Sprintf("Subject: %d\r\n\r\nbody %d\r\n", i+1, i+1))
	}
	return bodies
}
