package smtpd

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"example.org/letterbox/store"
)

// Bounds of what is kept of a header.
const (
	// maxFieldHead is the longest beginning of a field that waits until it is known what field it is, or whose.
	maxFieldHead = 1 << 10
	// maxPlaces is how many places a message tells of, in Delivered-To fields, that are looked at: ours stands above older
	// ones.
	maxPlaces = 20
)

// header passes a message on in its canonical form, and reads the header meanwhile. What only we may say is left out:
// Return-Path (RFC 5321 section 4.4), and Authentication-Results in our name (RFC 8601 section 5). Everything else stays as
// it is, octet for octet. It takes linear time, holds maxFieldHead octets, maxPlaces addresses and a Message-ID at most, and pieces may be
// cut anywhere.
type header struct {
	w      io.Writer
	host   string // whose Authentication-Results are left out
	bounds headerBounds

	first   firstLine // of what was passed on
	over    bool      // what comes now is the body
	inLine  bool      // the line that comes is not at its beginning
	field   fieldFate
	held    []byte // the beginning of a field that is undecided, or the value of a Delivered-To
	author  authserv
	octets  int64
	fields  int
	hops    int      // Received fields
	places  []string // distinct values of Delivered-To
	msgID   string   // the value of the first Message-ID
	fault   kind     // why the message is refused
	written bool     // something was passed on
}

// headerBounds are what a Policy says of headers.
type headerBounds struct {
	octets int64
	fields int
	hops   int
}

// fieldFate says what becomes of the octets of a field.
type fieldFate uint8

const (
	passed   fieldFate = iota
	unnamed            // held until the name is known
	unsigned           // held until it is known in whose name it is
	dropped
	collected // passed, and the value is kept
	named     // a Message-ID, passed, and the value is kept
)

// Write takes the next canonical piece.
func (h *header) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 && !h.over {
		line := p
		if lf := bytes.IndexByte(p, '\n'); lf >= 0 {
			line = p[:lf+1]
		}
		if !h.inLine {
			h.beginLine(line[0])
		}
		if h.over {
			break
		}
		h.inLine = line[len(line)-1] != '\n'
		if err := h.take(line); err != nil {
			return total - len(p), err
		}
		p = p[len(line):]
	}
	return total, h.emit(p)
}

// beginLine sees the first octet of a line: an empty line ends the header, a blank goes on with a field (RFC 5322 section
// 2.2.3), and anything else begins one.
func (h *header) beginLine(b byte) {
	if b == ' ' || b == '\t' {
		return // above all fields firstLine finds that there is no header
	}
	h.endField()
	if b == '\r' {
		h.over = true
		return
	}
	h.field, h.held = unnamed, h.held[:0]
	h.fields++
}

// take settles a piece of one line, whose field is known or is not.
func (h *header) take(p []byte) error {
	h.octets += int64(len(p))
	if h.octets > h.bounds.octets || h.fields > h.bounds.fields {
		h.fault = bigHeader
		return nil // nothing of it is wanted any more
	}
	switch h.field {
	case dropped:
		return nil
	case unnamed, unsigned:
		seen := len(h.held)
		h.held = append(h.held, p[:min(len(p), maxFieldHead+1-seen)]...)
		rest := p[len(h.held)-seen:]
		if h.field == unnamed {
			h.name(seen)
		}
		if h.field == unsigned {
			h.sign(seen)
		}
		if h.field == unnamed || h.field == unsigned || h.field == dropped {
			return nil
		}
		return h.release(rest)
	case collected, named:
		h.collect(p)
	}
	return h.emit(p)
}

// name decides on a field once its colon has come, and on a line that has none.
func (h *header) name(seen int) {
	colon := bytes.IndexByte(h.held[seen:], ':') + seen
	switch {
	case colon >= seen:
	case len(h.held) > maxFieldHead: // there may be blanks without end before the colon (RFC 5322 section 4.5)
		colon = len(h.held)
	case h.inLine:
		return // it may come yet
	default:
		h.field = passed
		return
	}
	switch name := bytes.TrimRight(h.held[:colon], " \t"); {
	case bytes.EqualFold(name, []byte("Return-Path")):
		h.field = dropped
	case bytes.EqualFold(name, []byte("Authentication-Results")):
		h.field, h.author = unsigned, authserv{at: colon + 1}
	case bytes.EqualFold(name, []byte("Delivered-To")) && colon < len(h.held):
		h.field = collected
	case bytes.EqualFold(name, []byte("Message-ID")):
		h.field = named
	case bytes.EqualFold(name, []byte("Received")):
		h.field = passed
		if h.hops++; h.hops > h.bounds.hops {
			h.fault = looping
		}
	default:
		h.field = passed
	}
}

// sign decides on Authentication-Results once the name is known that it is given in. Where that is not to be found, nobody
// could tell whose it is: it goes.
func (h *header) sign(seen int) {
	for i := max(seen, h.author.at); i < len(h.held) && !h.author.known; i++ {
		h.author.next(h.held[i])
	}
	switch {
	case h.author.known && !h.author.is(h.host): // also where what is held is full: pieces are cut anywhere
		h.field = passed
	case h.author.known, len(h.held) > maxFieldHead:
		h.field = dropped
	}
}

// release passes on what was held of a field, and what has come of it beyond that.
func (h *header) release(rest []byte) error {
	if err := h.emit(h.held); err != nil {
		return err
	}
	if h.field == collected || h.field == named {
		h.held = append(h.held[:0], h.held[bytes.IndexByte(h.held, ':')+1:]...)
		h.collect(rest)
	}
	return h.emit(rest)
}

// collect keeps the value of a Delivered-To or a Message-ID. One that is too long for either is cut.
func (h *header) collect(p []byte) {
	h.held = append(h.held, p[:min(len(p), max(0, maxFieldHead-len(h.held)))]...)
}

// endField closes the field that went before.
func (h *header) endField() {
	switch {
	case h.field == collected && len(h.places) < maxPlaces:
		place := strings.TrimSpace(string(h.held))
		if !slices.Contains(h.places, place) {
			h.places = append(h.places, place)
		}
	case h.field == named && h.msgID == "":
		h.msgID = messageID(h.held)
	case h.field == unsigned: // it says nothing, in nobody's name
		h.field = dropped
	}
}

// messageID returns what stands between the angle brackets of a Message-ID (RFC 5322 section 3.6.4), or else the whole value.
func messageID(value []byte) string {
	value = bytes.TrimSpace(value)
	if _, id, ok := bytes.Cut(value, []byte("<")); ok {
		if id, _, ok = bytes.Cut(id, []byte(">")); ok {
			value = bytes.TrimSpace(id)
		}
	}
	return string(value[:min(len(value), store.MaxMessageID)])
}

// emit passes p on. A message whose first line is no field has no header.
func (h *header) emit(p []byte) error {
	if len(p) == 0 || h.fault != noKind {
		return nil
	}
	if !h.written || h.first.state < fieldFound {
		h.first.scan(p)
		h.over = h.over || h.first.state == fieldMissing
	}
	h.written = true
	_, err := h.w.Write(p)
	return err
}

// finish passes on what is still held, once canonical has ended the last line. Of a message that was empty, or became so,
// an empty line stays: it ends the header that we put above it.
func (h *header) finish() error {
	h.endField()
	if h.written {
		return nil
	}
	return h.emit([]byte("\r\n"))
}

// authserv finds the authserv-id of an Authentication-Results field (RFC 8601 section 2.2): the first word or quoted string
// behind comments and blanks.
type authserv struct {
	at      int // where the value begins
	comment int // depth
	escaped bool
	quoted  bool
	known   bool
	id      []byte // bounded by maxFieldHead
}

func (a *authserv) next(b byte) {
	inside := a.comment > 0 || a.quoted
	switch {
	case a.escaped:
		a.escaped = false
		a.keep(b)
	case inside && b == '\\':
		a.escaped = true
	case a.quoted && b == '"':
		a.known = true
	case a.quoted:
		a.keep(b)
	case b == '(' && len(a.id) == 0:
		a.comment++
	case a.comment > 0 && b == ')':
		a.comment--
	case a.comment > 0:
	case b == '"' && len(a.id) == 0:
		a.quoted = true
	case strings.IndexByte(" \t\r\n;(", b) >= 0:
		a.known = len(a.id) > 0 || b == ';'
	default:
		a.keep(b)
	}
}

func (a *authserv) keep(b byte) {
	if a.comment == 0 {
		a.id = append(a.id, b)
	}
}

func (a *authserv) is(host string) bool {
	return strings.EqualFold(strings.TrimSuffix(string(a.id), "."), host)
}

// returned tells whether the message was delivered to one of the same maildrops before, by what its own Delivered-To fields
// say. Where the store can't tell now, the message is taken: a loop comes by again.
func (t *transfer) returned(places []string) bool {
	for _, place := range places {
		path, k := t.forwardPath(unquoted(place), true)
		if k != noKind {
			continue
		}
		if _, err := store.ParseAddress(path); err != nil {
			continue
		}
		// Nobody asks to deliver there, so no block is for it, and none counts it.
		target, err := t.server.config.Store.Resolve(t.server.ctx, store.Attempt{To: path})
		if err != nil {
			continue
		}
		if slices.ContainsFunc(target.Maildrops, t.tx.reaches) {
			return true
		}
	}
	return false
}

// unquoted undoes printablePath.
func unquoted(path string) string {
	at := strings.LastIndexByte(path, '@')
	if at < 2 || path[0] != '"' || path[at-1] != '"' {
		return path
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(path[1:at-1]) + path[at:]
}
