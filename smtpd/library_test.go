package smtpd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// libraryReply is one reply that go-smtp makes on its own account.
type libraryReply struct {
	reply string
	when  string
	say   string // by a client that has said EHLO
	how   string // else: fresh, lmtp, tls or plain (a server without TLS)
}

const (
	sayMail = "MAIL FROM:<eve@b.test>\r\n"
	sayRcpt = sayMail + "RCPT TO:<ann@a.test>\r\n"
)

// libraryReplies are those that a client can meet. The README lists them.
func libraryReplies() []libraryReply {
	return []libraryReply{
		{"220 mx.a.test ESMTP Service Ready", "the greeting", "", "fresh"},
		{"220 2.0.0 Ready to start TLS", "STARTTLS", "STARTTLS\r\n", ""},
		{"221 2.0.0 Bye", "QUIT", "QUIT\r\n", ""},
		{"250 2.0.0 Hello client.test", "HELO", "HELO client.test\r\n", "fresh"},
		{"250 2.0.0 Roger, accepting mail from <eve@b.test>", "MAIL", sayMail, ""},
		{"250 2.0.0 I'll make sure <ann@a.test> gets this", "RCPT", sayRcpt, ""},
		{"250 2.0.0 Continue", "BDAT without LAST", sayRcpt + "BDAT 6\r\na: b\r\n", ""},
		{"250 2.0.0 Session reset", "RSET", "RSET\r\n", ""},
		{"250 2.0.0 I have successfully done nothing", "NOOP", "NOOP\r\n", ""},
		{"252 2.5.0 Cannot VRFY user, but will accept message", "VRFY", "VRFY ann\r\n", ""},
		{"354 Go ahead. End your data with <CR><LF>.<CR><LF>", "DATA", sayRcpt + "DATA\r\n", ""},
		{"500 5.5.2 Error: bad syntax", "an empty line", "\r\n", ""},
		{"501 5.5.2 Bad command", "a line that is no command", "x\r\n", ""},
		{"500 5.5.2 Syntax errors, ETRN command unrecognized", "an unknown command", "ETRN x\r\n", ""},
		{"500 5.5.1 Too many errors. Quiting now", "after the fourth of the three above; the session ends", "x\r\nx\r\nx\r\nx\r\n", ""},
		{"500 5.4.0 Too long line, closing connection", "never: we end such a session first", "-", ""},
		{"500 5.5.1 This is a LMTP server, use LHLO", "HELO or EHLO over LMTP", "EHLO x\r\n", "lmtp"},
		{"500 5.5.1 This is not a LMTP server", "LHLO over SMTP", "LHLO x\r\n", ""},
		{"500 5.5.4 Unknown MAIL FROM argument", "an unknown parameter of MAIL", "MAIL FROM:<> X=1\r\n", ""},
		{"500 5.5.4 Unknown RCPT TO argument", "an unknown parameter of RCPT", sayMail + "RCPT TO:<ann@a.test> X=1\r\n", ""},
		{"500 5.5.4 Malformed AUTH parameter value", "AUTH= of MAIL that can't be read", "MAIL FROM:<> AUTH=+1\r\n", ""},
		{"500 5.5.4 Malformed AUTH parameter mailbox", "AUTH= of MAIL that is no address", "MAIL FROM:<> AUTH=x\r\n", ""},
		{"501 5.5.2 Domain/address argument required for HELO", "a greeting without a name", "EHLO\r\n", "fresh"},
		{"501 5.5.2 Was expecting MAIL arg syntax of FROM:<address>", "a reverse-path that can't be read, also one without @", "MAIL FROM:<root>\r\n", ""},
		{"501 5.5.2 Was expecting RCPT arg syntax of TO:<address>", "a forward-path that can't be read, also `<postmaster>`", sayMail + "RCPT TO:<postmaster>\r\n", ""},
		{"501 5.5.4 Unable to parse MAIL ESMTP parameters", "a parameter with two =", "MAIL FROM:<> A=B=C\r\n", ""},
		{"501 5.5.4 Unable to parse RCPT ESMTP parameters", "the same at RCPT", sayMail + "RCPT TO:<ann@a.test> A=B=C\r\n", ""},
		{"501 5.5.4 Unable to parse SIZE as an integer", "SIZE= that is no number, or over 4 GiB", "MAIL FROM:<> SIZE=x\r\n", ""},
		{"501 5.5.4 Unknown BODY value", "BODY= other than 7BIT, 8BITMIME and BINARYMIME", "MAIL FROM:<> BODY=x\r\n", ""},
		{"501 5.5.4 DATA command should not have any arguments", "DATA with an argument", sayRcpt + "DATA x\r\n", ""},
		{"501 5.5.4 Missing chunk size argument", "BDAT without a size; the session ends", sayRcpt + "BDAT  \r\n", ""},
		{"501 5.5.4 Too many arguments", "BDAT with three; the session ends", sayRcpt + "BDAT 1 2 3\r\n", ""},
		{"501 5.5.4 Unknown BDAT argument", "BDAT with another word than LAST; the session ends", sayRcpt + "BDAT 1 LAZT\r\n", ""},
		{"501 5.5.4 Malformed size argument", "BDAT with no number; the session ends", sayRcpt + "BDAT x\r\n", ""},
		{"502 5.5.1 HELP command not implemented", "EXPN, HELP, SEND, SOML, SAML, TURN", "HELP\r\n", ""},
		{"502 5.5.1 Please introduce yourself first.", "MAIL or AUTH before a greeting", sayMail, "fresh"},
		{"502 5.5.1 Missing MAIL FROM command.", "RCPT before MAIL", "RCPT TO:<ann@a.test>\r\n", ""},
		{"502 5.5.1 Missing RCPT TO command.", "DATA or BDAT without a recipient", sayMail + "DATA\r\n", ""},
		{"502 5.5.1 MAIL not allowed during message transfer", "MAIL between chunks", sayRcpt + "BDAT 6\r\na: b\r\n" + sayMail, ""},
		{"502 5.5.1 RCPT not allowed during message transfer", "RCPT between chunks", sayRcpt + "BDAT 6\r\na: b\r\nRCPT TO:<bob@a.test>\r\n", ""},
		{"502 5.5.1 DATA not allowed during message transfer", "DATA between chunks", sayRcpt + "BDAT 6\r\na: b\r\nDATA\r\n", ""},
		{"502 5.5.1 Already running in TLS", "STARTTLS under TLS", "STARTTLS\r\n", "tls"},
		{"502 5.5.1 TLS not supported", "STARTTLS on a server without a certificate", "STARTTLS\r\n", "plain"},
		{"502 5.5.4 Missing parameter", "AUTH without a mechanism", "AUTH  \r\n", ""},
		{"504 5.5.4 BINARYMIME is not implemented", "BODY=BINARYMIME", "MAIL FROM:<> BODY=BINARYMIME\r\n", ""},
		{"504 5.5.4 REQUIRETLS is not implemented", "REQUIRETLS", "MAIL FROM:<> REQUIRETLS\r\n", ""},
		{"504 5.5.4 RET is not implemented", "RET= of MAIL", "MAIL FROM:<> RET=FULL\r\n", ""},
		{"504 5.5.4 ENVID is not implemented", "ENVID= of MAIL", "MAIL FROM:<> ENVID=x\r\n", ""},
		{"504 5.5.4 NOTIFY is not implemented", "NOTIFY= of RCPT", sayMail + "RCPT TO:<ann@a.test> NOTIFY=NEVER\r\n", ""},
		{"504 5.5.4 ORCPT is not implemented", "ORCPT= of RCPT", sayMail + "RCPT TO:<ann@a.test> ORCPT=rfc822;x\r\n", ""},
		{"504 5.5.4 RRVS is not implemented", "RRVS= of RCPT", sayMail + "RCPT TO:<ann@a.test> RRVS=x\r\n", ""},
		{"504 5.5.4 DELIVERBY is not implemented", "BY= of RCPT", sayMail + "RCPT TO:<ann@a.test> BY=1;R\r\n", ""},
		{"504 5.5.4 MT-PRIORITY is not implemented", "MT-PRIORITY= of RCPT", sayMail + "RCPT TO:<ann@a.test> MT-PRIORITY=1\r\n", ""},
		{"523 5.7.10 TLS is required", "AUTH in clear", "AUTH PLAIN\r\n", ""},
		{"454 4.7.0 Invalid base64 data", "AUTH under TLS with something else than base64", "AUTH PLAIN !\r\n", "tls"},
		{"504 5.7.4 Unsupported authentication mechanism", "AUTH under TLS", "AUTH PLAIN\r\n", "tls"},
		{"552 5.3.4 Max message size exceeded", "SIZE= of MAIL, or the chunks of BDAT, more than one octet over the maximum", "MAIL FROM:<> SIZE=99999999\r\n", ""},
	}
}

// TestOwnReplies holds the README's list of our own replies against the table.
func TestOwnReplies(t *testing.T) {
	var want strings.Builder
	want.WriteString("| reply | text |\n| --- | --- |\n")
	for k := noKind; k <= lastKind; k++ {
		code, e, text := k.words()
		if e[0] != code/100 { // RFC 3463 section 2
			t.Errorf("%d has the enhanced code %v", code, e)
		}
		if k != noKind {
			fmt.Fprintf(&want, "| `%d %d.%d.%d` | %s |\n", code, e[0], e[1], e[2], text)
		}
	}
	if list := readmeList(t, "replies"); list != want.String() {
		t.Errorf("the README has another list. It should be:\n%s", want.String())
	}
}

func readmeList(t *testing.T, name string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(readme), "<!-- "+name+":begin -->\n")
	list, _, _ = strings.Cut(list, "<!-- "+name+":end -->")
	return list
}

// TestLibraryReplies provokes each, and holds the README's list against them.
func TestLibraryReplies(t *testing.T) {
	var want strings.Builder
	want.WriteString("| reply of go-smtp | when |\n| --- | --- |\n")
	for _, r := range libraryReplies() {
		want.WriteString("| `" + r.reply + "` | " + r.when + " |\n")
	}
	if list := readmeList(t, "library replies"); list != want.String() {
		t.Errorf("the README has another list. It should be:\n%s", want.String())
	}
	for _, r := range libraryReplies() {
		if r.say != "-" {
			t.Run(r.reply, func(t *testing.T) {
				t.Parallel()
				provoke(t, r)
			})
		}
	}
}

func provoke(t *testing.T, r libraryReply) {
	b := newBenchWith(t, Policy{}, Listener{Name: "test", LMTP: r.how == "lmtp"}, func(c *Config) {
		if r.how == "plain" {
			c.TLS = nil
		}
	})
	var c *client
	switch r.how {
	case "tls":
		c = b.helloTLS()
	case "", "plain":
		c = b.hello()
	default:
		c = b.dial()
		c.conn.SetReadDeadline(time.Now().Add(testPatience))
		if r.say != "" {
			c.want("220 ")
		}
	}
	c.conn.SetReadDeadline(time.Now().Add(testPatience))
	c.send(r.say)
	for {
		got := c.reply()
		if got == r.reply {
			return
		}
		if got == "" || got[0] == '(' {
			t.Fatalf("no %q, but %q", r.reply, got)
		}
	}
}

// TestLibraryRepliesAreAll looks through the library's source for words that the list lacks.
func TestLibraryRepliesAreAll(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/emersion/go-smtp").Output()
	if err != nil {
		t.Skip("the library's source is not at hand:", err)
	}
	var listed strings.Builder
	for _, r := range libraryReplies() {
		listed.WriteString(r.reply + "\n")
	}
	words := regexp.MustCompile(`(?s)(\d{3}),\s*EnhancedCode\{(\d+), (\d+), (\d+)\},\s*(?:fmt\.Sprintf\()?"([^"%]*)`)
	for _, file := range []string{"conn.go", "server.go"} {
		source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range words.FindAllStringSubmatch(string(source), -1) {
			reply := m[1] + " " + m[2] + "." + m[3] + "." + m[4] + " " + m[5]
			if !strings.Contains(listed.String(), reply) && !cantHappen(reply) {
				t.Errorf("%q is not in the list", reply)
			}
		}
	}
}

// cantHappen are replies that no client can meet here, and why.
func cantHappen(reply string) bool {
	for _, all := range map[string][]string{
		"the extension is off": {
			"DSN", "RRVS", "DELIVERBY", "MT-PRIORITY", "NOTIFY", "ORCPT", "ENVID", "RET value", "BY parameter", "BINARYMIME messages",
			"SMTPUTF8 is not", "Maximum limit of",
		},
		"there is no AUTH":              {"235 ", "334 ", "Already authenticated", "Negotiation cancelled"},
		"the guard speaks first":        {"Idle timeout", "Connection error", "Handshake error"},
		"our own callbacks catch these": {"Internal server error"},
		"nobody calls Reject":           {"Too busy"},
		"the session says the rest":     {"OK: queued", "Error: transaction failed"},
	} {
		for _, words := range all {
			if strings.Contains(reply, words) {
				return true
			}
		}
	}
	return false
}
