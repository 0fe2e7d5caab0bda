package smtpd

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// mode says what the next octets from the client are for.
type mode uint8

const (
	inCommand mode = iota
	inData         // the content of DATA or a chunk of BDAT
	inHandshake
)

// Bounds of what the tap looks at, in octets.
const (
	// maxCommandLine is far over the 512 of RFC 5321 section 4.5.3.1.4, since parameters lengthen a line, and is one
	// buffer of go-smtp's reader.
	maxCommandLine = 4096
	// lineHead is what is kept of a line: the longest BDAT that makes sense fits with ease.
	lineHead = 64
)

// tap is a shadow of one connection's protocol, made from the plain text in both directions. It is fed by the guard, under
// the guard's lock, and does nothing itself.
//
// go-smtp reads ahead: what a client sends in one piece may hold a command, a body and further commands. The tap consumes
// in step with go-smtp instead. A line is only taken when go-smtp asks for one, and what can't be told yet, because it
// depends on a reply, waits in pending.
type tap struct {
	lmtp     bool
	mode     mode
	replying bool // a reply is being written: what comes next goes out
	wantLine bool // go-smtp waits for a command

	head    [lineHead]byte
	lineLen int
	verb    string // the last command, in the words of Observer
	bdat    bool   // that command was some form of BDAT

	// pending is at most what go-smtp's reader holds: one buffer of 4096 octets.
	pending []byte

	greeted  bool
	greeting string // the last greeting that was accepted: HELO, EHLO or LHLO
	status   [4]byte
	statusAt int
	code     int // the last reply

	early bool // some content came before the 354
	dots  dots
	width width
	wire  int64 // octets of the message under way, as they came

	chunk     int64 // octets of this chunk that have not come yet
	announced int64 // by all chunks of this message; where one is refused the message is over
	last      bool  // this chunk is the last, and its command line was whole
	open      bool  // a chunk was taken and more are to come
}

// width is how long the line of content under way is, without its LF.
type width int

// over follows p and tells whether a line has become longer than maxLine. go-smtp can count too, but looks at each octet.
func (w *width) over(p []byte) bool {
	for len(p) > 0 {
		lf := bytes.IndexByte(p, '\n')
		if lf < 0 {
			*w += width(len(p))
			return *w >= maxLine
		}
		if *w+width(lf) >= maxLine {
			return true
		}
		// Lines that lie in p whole can't be too long where p is not.
		*w, p = 0, p[lf+1:]
		if len(p) < maxLine {
			p = p[bytes.LastIndexByte(p, '\n')+1:]
		}
	}
	return false
}

// event is what the guard has to act on.
type event uint8

const (
	noEvent   event = iota
	badLine         // a command line that can't be followed, or is too long
	foreign         // a line of another protocol
	wideLine        // a line of content that is longer than maxLine
	lostChunk       // a BDAT was not understood: its chunk would be run as commands
	startTLS        // everything from here on is TLS
	replied         // a command has its reply
)

// expectLine says that go-smtp asks for the next command.
func (t *tap) expectLine() event {
	if t.mode == inHandshake {
		t.restart()
	}
	t.mode = inCommand
	t.wantLine = true
	return t.replay()
}

// restart forgets everything that was said before TLS (RFC 3207 section 4.2).
func (t *tap) restart() {
	*t = tap{lmtp: t.lmtp, greeted: t.greeted, code: t.code, pending: t.pending[:0]}
}

// replay goes on with what could not be told before.
func (t *tap) replay() event {
	p := t.pending
	t.pending = t.pending[:0] // input may put back a tail of p: it moves down within the same array
	return t.input(p)
}

// input follows octets that come from the client.
func (t *tap) input(p []byte) event {
	for len(p) > 0 {
		n := 0
		switch {
		case t.chunk > 0:
			n = int(min(t.chunk, int64(len(p))))
			t.chunk -= int64(n)
			t.wire += int64(n)
		case t.mode == inData && t.verb == "DATA" && t.dots.state != dotEnd:
			n = t.dots.scan(p)
			t.wire += int64(n)
			if t.width.over(p[:n]) {
				return wideLine
			}
		case t.wantLine:
			var e event
			if n, e = t.line(p); e != noEvent {
				return e
			}
		default:
			t.pending = append(t.pending, p...)
			return noEvent
		}
		p = p[n:]
	}
	return noEvent
}

// content follows octets of DATA that go-smtp does not read, and returns how many belong to the content and its end, and how
// many of them stay when its stuffing is taken out; they are moved to the beginning of p.
func (t *tap) content(p []byte) (kept, taken int, e event) {
	before := t.dots.state
	taken = t.dots.scan(p)
	t.wire += int64(taken)
	if t.width.over(p[:taken]) {
		return 0, taken, wideLine
	}
	return before.unstuff(p[:taken]), taken, noEvent
}

// line takes octets of a command line, up to its LF.
func (t *tap) line(p []byte) (int, event) {
	if t.lineLen == 0 && p[0] == tlsRecord {
		p = p[:1]
	}
	p = p[:min(len(p), max(1, maxCommandLine+1-t.lineLen))]
	lf := bytes.IndexByte(p, '\n')
	if lf >= 0 {
		p = p[:lf+1]
	}
	if t.lineLen < lineHead {
		copy(t.head[t.lineLen:], p)
	}
	t.lineLen += len(p)
	switch {
	case t.head[0] == tlsRecord:
		return len(p), foreign
	case lf >= 0:
		return len(p), t.command()
	case t.lineLen > maxCommandLine:
		return len(p), badLine
	}
	return len(p), noEvent
}

// command takes a whole line as go-smtp's parseCmd does.
func (t *tap) command() event {
	whole := t.lineLen <= lineHead
	end := min(t.lineLen, lineHead)
	for end > 0 && (t.head[end-1] == '\r' || t.head[end-1] == '\n') {
		end--
	}
	line := string(t.head[:end])
	t.wantLine, t.lineLen = false, 0
	t.verb, t.bdat, t.last = verbOf(line), false, false
	if t.verb == otherVerb && isHTTP(line) {
		return foreign
	}
	if len(line) < 4 || !strings.EqualFold(line[:4], "BDAT") {
		return noEvent
	}
	t.bdat = true
	if !whole {
		return badLine
	}
	if t.verb == "BDAT" && len(line) > 5 {
		t.beginChunk(strings.Fields(strings.TrimSpace(line[5:])))
	}
	return noEvent
}

// beginChunk reads BDAT's arguments (RFC 3030 section 2) as go-smtp does. What it does not understand, go-smtp answers
// with 501.
func (t *tap) beginChunk(args []string) {
	last := len(args) == 2 && strings.EqualFold(args[1], "LAST")
	if len(args) != 1 && !last {
		return
	}
	size, err := strconv.ParseUint(args[0], 10, 32)
	if err != nil {
		return
	}
	if !t.open {
		t.wire, t.announced = 0, 0
	}
	t.mode = inData
	t.chunk, t.last = int64(size), last
	t.announced += t.chunk
}

// verbOf returns the label of a command line.
func verbOf(line string) string {
	// ToUpper makes an S of ſ, too.
	if line != "" && (line[0] == 'S' || line[0] == 's' || line[0] >= utf8.RuneSelf) && strings.HasPrefix(strings.ToUpper(line), "STARTTLS") {
		return "STARTTLS"
	}
	if len(line) < 4 || len(line) == 5 || (len(line) > 5 && line[4] != ' ') {
		return otherVerb
	}
	switch name := strings.ToUpper(line[:4]); name { // not always four octets: ı becomes I
	case "AUTH", "BDAT", "DATA", "EHLO", "EXPN", "HELO", "HELP", "LHLO", "MAIL", "NOOP", "QUIT", "RCPT", "RSET", "VRFY":
		return name
	}
	return otherVerb
}

// output follows octets that go to the client.
func (t *tap) output(p []byte) event {
	for _, b := range p {
		if t.statusAt < len(t.status) {
			t.status[t.statusAt] = b
			t.statusAt++
		}
		if b != '\n' {
			continue
		}
		more := t.status[3] == '-' // RFC 5321 section 4.2.1
		t.statusAt = 0
		if !more {
			return t.reply()
		}
	}
	return noEvent
}

// reply follows a reply that is complete. go-smtp writes no two of them in one piece.
func (t *tap) reply() event {
	t.replying = false
	t.code, _ = strconv.Atoi(string(t.status[:3]))
	switch {
	case !t.greeted:
		t.greeted = true
		return noEvent
	case t.code == 220:
		t.mode = inHandshake
		return startTLS
	case t.code == 354:
		t.mode, t.dots, t.width, t.wire, t.early = inData, dots{}, 0, 0, len(t.pending) > 0
		t.replay()
	case t.bdat:
		return t.chunkReply()
	case t.code == 250 && (t.verb == "HELO" || t.verb == "EHLO" || t.verb == "LHLO"):
		t.greeting = t.verb
	}
	return replied
}

func (t *tap) chunkReply() event {
	switch {
	case t.code == 501:
		return lostChunk
	case t.code == 250 && !t.last:
		t.open = true
	}
	return replied
}

// endMessage forgets the chunks of a message that is over.
func (t *tap) endMessage() {
	t.open, t.announced = false, 0
}

// complete tells whether a message that seems to end after n octets is whole. go-smtp takes a connection that ends inside
// the last chunk for the end of that chunk.
func (t *tap) complete(chunked bool, n int64) bool {
	if chunked {
		return t.last && t.chunk == 0 && t.announced == n
	}
	return t.dots.state == dotEnd
}
