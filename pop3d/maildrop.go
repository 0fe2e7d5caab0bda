package pop3d

import (
	"errors"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

// maildrop is the session's maildrop and what the client did with it. Message n of the client is index n-1 here, from
// login to QUIT.
type maildrop struct {
	store.Maildrop
	account  string // as the client wrote it when it logged in
	messages []store.Message
	active   time.Time // when the store heard last that the client moved
	deleted  []bool    // by index; nil until the first DELE
	// What STAT tells: messages not marked as deleted, and their octets.
	count int
	size  int64
	// For the session's line in the log.
	retrieved, gone int
	octets          int64
}

// newMaildrop begins with no message marked as deleted (RFC 1939 section 4).
func newMaildrop(m store.Maildrop, account string) *maildrop {
	box := &maildrop{Maildrop: m, account: account, messages: m.Messages()}
	box.reset()
	return box
}

// reset unmarks every message.
func (b *maildrop) reset() {
	b.deleted, b.count, b.size = nil, len(b.messages), 0
	for i := range b.messages {
		b.size += b.messages[i].Octets
	}
}

// isDeleted tells whether index i is marked.
func (b *maildrop) isDeleted(i int) bool { return b.deleted != nil && b.deleted[i] }

// idle gives the store the time until the client's next command.
func (b *maildrop) idle() {
	if m, ok := b.Maildrop.(store.Idler); ok {
		m.Idle()
	}
}

// marked returns the marked indices in order.
func (b *maildrop) marked() []int {
	marks := make([]int, 0, len(b.messages)-b.count)
	for i, marked := range b.deleted {
		if marked {
			marks = append(marks, i)
		}
	}
	return marks
}

// isLost tells whether the store took the maildrop away.
func (b *maildrop) isLost() bool {
	select {
	case <-b.Lost():
		return true
	default:
		return false
	}
}

// find returns the index of the message that a client calls n. Where there is none, or it is marked as deleted, the
// reply is to be sent (RFC 1939 section 5).
func (b *maildrop) find(n int64) (int, reply, bool) {
	switch {
	case n < 1 || n > int64(len(b.messages)):
		return 0, negative(codeNone, "no such message, only "+strconv.Itoa(len(b.messages))+" in maildrop"), false
	case b.isDeleted(int(n - 1)):
		return 0, negative(codeNone, "message "+strconv.FormatInt(n, 10)+" already deleted"), false
	}
	return int(n - 1), reply{}, true
}

// summary is how STAT's numbers read in other replies.
func (b *maildrop) summary() string {
	return strconv.Itoa(b.count) + " messages (" + strconv.FormatInt(b.size, 10) + " octets)"
}

// stat is RFC 1939 section 5.
func (s *session) stat(request) reply {
	return positive(strconv.Itoa(s.box.count) + " " + strconv.FormatInt(s.box.size, 10))
}

// list is RFC 1939 section 5.
func (s *session) list(q request) reply {
	return s.listing(q, s.box.summary(), func(b []byte, m *store.Message) []byte {
		return strconv.AppendInt(b, m.Octets, 10)
	})
}

// uidl is RFC 1939 section 7.
func (s *session) uidl(q request) reply {
	return s.listing(q, "unique-id listing follows", func(b []byte, m *store.Message) []byte { return m.AppendUIDL(b) })
}

// listLine is the longest line of a listing: a number of 20 digits, a space, a UIDL of 70 octets and CRLF.
const listLine = 96

// listing answers a command that tells one thing of one message or of all: the message's number, a space, and what tell
// appends.
func (s *session) listing(q request, text string, tell func([]byte, *store.Message) []byte) reply {
	if q.count == 1 {
		i, failure, ok := s.box.find(q.numbers[0])
		if !ok {
			return failure
		}
		return positive(string(tell(append(strconv.AppendInt(nil, int64(i)+1, 10), ' '), &s.box.messages[i])))
	}
	return reply{ok: true, text: text, body: func(s *session, _ int) error {
		w := &s.out
		for i := range s.box.messages {
			if s.box.isDeleted(i) {
				continue
			}
			w.ensure(listLine)
			w.buf = append(strconv.AppendInt(w.buf, int64(i)+1, 10), ' ')
			w.buf = append(tell(w.buf, &s.box.messages[i]), "\r\n"...)
		}
		w.dot()
		return nil
	}}
}

// dele is RFC 1939 section 5: the message is only marked.
func (s *session) dele(q request) reply {
	i, failure, ok := s.box.find(q.numbers[0])
	if !ok {
		return failure
	}
	if s.box.deleted == nil {
		s.box.deleted = make([]bool, len(s.box.messages))
	}
	s.box.deleted[i] = true
	s.box.count--
	s.box.size -= s.box.messages[i].Octets
	return positive("message " + strconv.FormatInt(q.numbers[0], 10) + " deleted")
}

// rset is RFC 1939 section 5.
func (s *session) rset(request) reply {
	s.box.reset()
	return positive("maildrop has " + s.box.summary())
}

// noop is RFC 1939 section 5.
func (s *session) noop(request) reply { return positive("") }

// quit is RFC 1939 sections 4 and 6.
func (s *session) quit(request) reply {
	text := s.srv.config.Hostname + " POP3 server signing off"
	if s.state == authorization {
		return reply{ok: true, text: text, end: endQuit}
	}
	if failure, ok := s.update(); !ok {
		return failure
	}
	s.result = resultOK
	return reply{ok: true, text: text + " (" + strconv.Itoa(s.box.count) + " messages left)", end: endQuit}
}

// update removes the marked messages and frees the lock, both before anything is answered, so that a client that has the
// reply may come back at once. It reports false with the reply to send when nothing was removed, or that is not known.
func (s *session) update() (reply, bool) {
	defer s.close()
	marks := s.box.marked()
	if len(marks) == 0 {
		return reply{}, true
	}
	s.result = resultFailed
	// A client may send RETR, DELE and QUIT in one go. Where the message could not be sent it must not be deleted.
	if s.out.message && s.out.flush() != nil {
		return over(s.broken(s.out.err)), false
	}
	if err := s.box.Commit(s.context(), marks); err != nil {
		s.event(zerolog.WarnLevel).Err(err).Int("deleted", len(marks)).Msg("deletions failed")
		r := negative(codeTemporary, "some deleted messages not removed")
		r.end = endError
		if errors.Is(err, store.ErrLost) {
			r.end = endLost
		}
		return r, false
	}
	s.box.gone = len(marks)
	s.observer.Deleted(len(marks))
	return reply{}, true
}

// close frees the maildrop's lock. It may be called again.
func (s *session) close() {
	s.conn.busy = nil
	if err := s.box.Close(); err != nil {
		s.event(zerolog.WarnLevel).Err(err).Msg("maildrop could not be closed")
	}
}
