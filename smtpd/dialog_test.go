package smtpd

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDialogs plays testdata/dialogs. Each file is one clause, and is named after it. A line begins with
//
//	@   before anything else: lmtp, tls, tls-in-front, or a setting of the policy (see configure)
//	C:  a line from the client
//	R:  octets from the client, as a quoted Go string
//	S:  the beginning of the last line of the next reply, or (closed)
//	s:  the beginning of some line of that reply
//	T:  the client does its TLS handshake
//	M:  how many messages the store has now
//	B:  the last message's body, as a quoted Go string
//	H:  a part of what is above the body of the last message's first recipient
//	#   a remark
func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogs/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogs", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			play(t, text)
		})
	}
}

func play(t *testing.T, text []byte) {
	var p Policy
	var l Listener
	var b *bench
	var c *client
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if setting, ok := strings.CutPrefix(line, "@ "); ok {
			configure(t, setting, &p, &l)
			continue
		}
		if b == nil {
			l.Name = "test"
			b = newBench(t, p, l)
			c = b.dial()
			if l.TLS {
				c.secure(b.tls)
			}
		}
		what, arg, _ := strings.Cut(line, ":")
		if problem := step(b, c, what, strings.TrimPrefix(arg, " ")); problem != "" {
			t.Fatalf("line %d: %s\n%s\nlog:\n%s", n, line, problem, b.log)
		}
	}
}

func configure(t *testing.T, setting string, p *Policy, l *Listener) {
	word, value, _ := strings.Cut(setting, " ")
	switch word {
	case "lmtp":
		l.LMTP = true
	case "tls":
		l.TLS = true
	case "tls-in-front":
		l.TLSInFront = true
	case "bare":
		p.BareNewlines = value
	case "domain":
		p.Domains = append(p.Domains, value)
	case "size":
		n, _ := strconv.Atoi(value)
		p.MaxMessageBytes = int64(n)
	case "recipients":
		p.MaxRecipients, _ = strconv.Atoi(value)
	case "lostend":
		p.LostEndTimeout, _ = time.ParseDuration(value)
	case "delay":
		p.GreetingDelay, _ = time.ParseDuration(value)
	case "tarpit":
		p.Tarpit, _ = time.ParseDuration(value)
	case "errors":
		p.MaxErrors, _ = strconv.Atoi(value)
	case "unknown":
		p.MaxUnknown, _ = strconv.Atoi(value)
	case "commands":
		p.MaxCommands, _ = strconv.Atoi(value)
	case "wasted":
		p.MaxWasted, _ = strconv.ParseInt(value, 10, 64)
	default:
		t.Fatalf("unknown setting %q", setting)
	}
}

// step does one line and returns what is wrong.
func step(b *bench, c *client, what, arg string) string {
	switch what {
	case "C":
		c.send(arg + "\r\n")
	case "R":
		raw, err := strconv.Unquote(arg)
		if err != nil {
			return err.Error()
		}
		c.send(raw)
	case "S":
		if got := c.reply(); !strings.HasPrefix(got, arg) {
			return "got " + got
		}
	case "s":
		for _, line := range c.last {
			if strings.HasPrefix(line, arg) {
				return ""
			}
		}
		return "got " + strings.Join(c.last, "\n    ")
	case "T":
		c.secure(b.tls)
	default:
		return stored(b.store.all(), what, arg)
	}
	return ""
}

func stored(all []delivered, what, arg string) string {
	if what == "M" {
		if got := strconv.Itoa(len(all)); got != arg {
			return "there are " + got
		}
		return ""
	}
	if len(all) == 0 {
		return "no message"
	}
	m := all[len(all)-1]
	switch what {
	case "B":
		if got := strconv.Quote(m.body); got != arg {
			return "got " + got
		}
	case "H":
		if head := string(m.final.Recipients[0].Prefix) + string(m.final.Trace); !strings.Contains(head, arg) {
			return "got " + head
		}
	default:
		return "no such line"
	}
	return ""
}
