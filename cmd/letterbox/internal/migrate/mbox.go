package migrate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"example.org/letterbox/store"
)

// mbox is the mail of one mbox file. It holds some 100 octets for each message.
type mbox struct {
	name     string
	file     io.ReaderAt
	close    func() error
	messages []mboxMessage
}

type mboxMessage struct {
	from, to int64 // octets of the file, without the separators
	line     int64 // of the separator, counted from 1
	uidl     string
}

// OpenMbox reads where the messages of the mbox at path begin, as it is now. A message begins behind a line `From ` that has a
// time in it and stands at the start or behind an empty line; the empty line is no part of the message before. Lines that
// begin with `>From `, with any number of >, lose one (mboxrd).
func OpenMbox(path string) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, access(path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	var m *mbox
	if err == nil {
		m, err = scanMbox(f, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	m.name, m.close = filepath.Base(path), f.Close
	return m, nil
}

// scanMbox finds the messages in the first size octets of r.
func scanMbox(r io.ReaderAt, size int64) (*mbox, error) {
	m := &mbox{file: r, close: func() error { return nil }}
	lines := newLines(io.NewSectionReader(r, 0, size))
	var at, number, emptyAt int64
	empty, header := true, false // the line before was empty; we are in a header
	emptyAt = 0
	for {
		line, whole, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		number++
		switch text := bytes.TrimRight(line, "\r\n"); {
		case empty && isSeparator(text):
			m.endAt(emptyAt)
			m.messages = append(m.messages, mboxMessage{from: at + whole, to: size, line: number})
			header, empty = true, false
		case len(m.messages) == 0 && len(text) > 0:
			return nil, fmt.Errorf("it is no mbox: line %d is %.40q, where `From ` has to begin the first message", number, text)
		default:
			if empty = len(text) == 0; empty {
				header, emptyAt = false, at
			}
			if header {
				m.note(text)
			}
		}
		at += whole
	}
	if empty {
		m.endAt(emptyAt)
	}
	return m, nil
}

// endAt ends the last message, if there is one.
func (m *mbox) endAt(at int64) {
	if n := len(m.messages); n > 0 {
		m.messages[n-1].to = max(at, m.messages[n-1].from)
	}
}

// note takes the UIDL from a line of the last message's header.
func (m *mbox) note(line []byte) {
	const field = "x-uidl:"
	last := &m.messages[len(m.messages)-1]
	if last.uidl == "" && len(line) > len(field) && strings.EqualFold(string(line[:len(field)]), field) {
		if uidl := strings.TrimSpace(string(line[len(field):])); store.IsUIDL(uidl) {
			last.uidl = uidl
		}
	}
}

// isSeparator tells whether a line begins a message: `From `, and a time somewhere behind (RFC 4155 appendix A).
func isSeparator(line []byte) bool {
	if !bytes.HasPrefix(line, []byte(from)) {
		return false
	}
	digit := func(i int) bool { return i >= 0 && i < len(line) && '0' <= line[i] && line[i] <= '9' }
	for i, c := range line {
		if c == ':' && digit(i-1) && digit(i+1) && digit(i+2) {
			return true
		}
	}
	return false
}

// Len implements Source.
func (m *mbox) Len() int { return len(m.messages) }

// Close implements Source.
func (m *mbox) Close() error { return m.close() }

// Message implements Source.
func (m *mbox) Message(i int) Message {
	at := m.messages[i]
	return Message{
		Name: fmt.Sprintf("%s, line %d", m.name, at.line), UIDL: at.uidl,
		Read: func(w io.Writer) error { return unquote(w, io.NewSectionReader(m.file, at.from, at.to-at.from)) },
	}
}

// unquote copies a message and takes one > from each line that is `From ` behind one or more of them.
func unquote(w io.Writer, r io.Reader) error {
	out := bufio.NewWriterSize(w, lineBuffer)
	f := &fromLines{w: out, more: -1}
	for in := bufio.NewReaderSize(r, lineBuffer); ; {
		c, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			f.end()
			return out.Flush()
		}
		if err == nil {
			err = f.WriteByte(c)
		}
		if err != nil {
			return err
		}
	}
}

// fromLines changes the number of > before each line's `From `: one more to write an mbox, one less to read it.
type fromLines struct {
	w       *bufio.Writer
	more    int
	quotes  int  // > at the start of the line that are not written yet
	matched int  // octets of `From ` behind them, not written yet
	mid     bool // the line is no such line, or its start is written
}

// from is what the lines begin with that have a meaning in an mbox.
const from = "From "

// WriteByte implements io.ByteWriter.
func (f *fromLines) WriteByte(c byte) error {
	if !f.mid {
		if c == '>' && f.matched == 0 {
			f.quotes++
			return nil
		}
		if c == from[f.matched] {
			if f.matched++; f.matched == len(from) {
				f.quotes = max(0, f.quotes+f.more)
				f.end()
				f.mid = true
			}
			return nil
		}
		f.end()
	}
	f.mid = c != '\n'
	return f.w.WriteByte(c)
}

// end writes what is held.
func (f *fromLines) end() {
	for ; f.quotes > 0; f.quotes-- {
		f.w.WriteByte('>')
	}
	f.w.WriteString(from[:f.matched])
	f.matched = 0
}

// lines reads lines of any length in pieces of at most its buffer.
type lines struct {
	r     *bufio.Reader
	whole bool // it ends one
}

// lineBuffer is how much of a line is looked at, in octets.
const lineBuffer = 64 << 10

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, lineBuffer)} }

// piece returns the next piece, at least one octet.
func (l *lines) piece() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	l.whole = len(line) > 0 && line[len(line)-1] == '\n'
	return line, err
}

// next returns the first piece of the next line, and the octets of the whole line.
func (l *lines) next() (first []byte, octets int64, err error) {
	piece, err := l.piece()
	if err != nil || l.whole {
		return piece, int64(len(piece)), err
	}
	first, octets = bytes.Clone(piece), int64(len(piece))
	for !l.whole {
		piece, err := l.piece()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		octets += int64(len(piece))
	}
	return first, octets, nil
}
