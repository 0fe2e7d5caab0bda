package smtpd

import (
	"errors"
	"io"
	"time"

	"example.org/letterbox/store"
	"github.com/emersion/go-smtp"
	"github.com/rs/zerolog"
)

// bufferBytes is the piece in which a message is read, and all the memory that a transfer takes beside the store's draft. It
// and go-smtp's own buffer stay in the processor's first cache while they are read octet by octet.
const bufferBytes = 8 << 10

// transfer carries one message into the store.
type transfer struct {
	*session
	tx      *transaction
	chunked bool // by BDAT
	started time.Time
	id      store.ID
	octets  int64  // as the sender counts them
	msgID   string // of the header, as far as it came
}

// transfer takes the content of the transaction that is under way and returns the reply.
func (s *session) transfer(r io.Reader) error {
	tx := s.begin()
	if tx == nil { // go-smtp's goroutine for a BDAT began after its transaction was over
		return smtpError(refuse(outOfStep), s.id)
	}
	defer s.end(tx)
	_, chunked := r.(*io.PipeReader) // go-smtp reads DATA itself, and hands over the chunks of BDAT through a pipe
	if !chunked && s.guard.canTake() {
		r = content{s.guard}
	}
	t := &transfer{session: s, tx: tx, chunked: chunked, started: time.Now()}
	err := t.run(r)
	t.report(err)
	if err != nil {
		return smtpError(err, s.id)
	}
	s.guard.credit()
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "queued as " + t.id.String()}
}

func (s *session) begin() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.tx == nil || s.tx.begun {
		return nil
	}
	s.tx.begun = true
	s.running++
	return s.tx
}

func (s *session) end(tx *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx.done = true
	s.running--
	s.quiet.Broadcast()
}

// run returns nil only when the message is in the store, durable for every recipient.
func (t *transfer) run(r io.Reader) error {
	draft, err := t.server.config.Store.Begin(t.server.ctx, store.Envelope{
		Session: t.session.id, From: t.tx.from, Declared: t.tx.declared,
	})
	if err != nil {
		t.drain(r)
		return storeFailure(err)
	}
	defer draft.Discard()
	t.id = draft.ID()
	body := newBody(draft, t.server.config.Hostname, t.guard.rules.header())
	defer func() { t.msgID = body.header.msgID }()
	if err := t.receive(body, r); err != nil {
		t.drain(r)
		return err
	}
	if err := t.finish(body); err != nil {
		return err
	}
	return storeFailure(draft.Commit(t.server.ctx, t.final(body)))
}

// receive reads to the end of the content.
func (t *transfer) receive(body *body, r io.Reader) error {
	buf := t.server.buffers.Get().(*[bufferBytes]byte)
	defer t.server.buffers.Put(buf)
	for {
		n, err := r.Read(buf[:])
		t.octets += int64(n)
		if t.octets > t.guard.rules.MaxMessageBytes {
			return refuse(tooLarge)
		}
		if _, err := body.Write(buf[:n]); err != nil {
			return storeFailure(err)
		}
		if k := t.fault(body); k != noKind {
			return refuse(k)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return t.readFailure(err)
		}
	}
}

// fault returns why a message is refused for what it holds.
func (t *transfer) fault(body *body) kind {
	if body.bare && t.guard.rules.BareNewlines == Refuse {
		return bareNewline
	}
	return body.header.fault
}

// finish makes sure that the message is whole, does not go in circles, and is still wanted, and ends its last line.
func (t *transfer) finish(body *body) error {
	if !t.guard.complete(t.chunked, t.octets) {
		return refuse(cutOff)
	}
	if err := body.finish(); err != nil {
		return storeFailure(err)
	}
	k := t.fault(body)
	if k == noKind && t.returned(body.header.places) {
		k = looping
	}
	if k != noKind {
		return refuse(k)
	}
	if t.guard.reason() != "" || t.transaction() != t.tx {
		return refuse(t.guard.lost(t.chunked))
	}
	return nil
}

// readFailure says why the content can't be read to its end. The session ends with it: what is left of the content must
// never be read as commands.
func (t *transfer) readFailure(err error) error {
	return &refusal{kind: t.guard.lost(t.chunked), cause: err}
}

// drain reads what is left of a message that is refused, so that the reply comes when the client listens for one. The guard
// bounds it. In SMTP a refused BDAT is better told at once; in LMTP go-smtp could then not tell each recipient.
func (t *transfer) drain(r io.Reader) {
	if !t.chunked || t.listener.LMTP {
		io.Copy(io.Discard, r)
	}
}

// storeFailure is what the store failed with, once recipients were taken: whatever it is, the sender may try again.
func storeFailure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrFull):
		return &refusal{kind: full, cause: err}
	default:
		return &refusal{kind: temporary, cause: err}
	}
}

// final returns what stands above the body.
func (t *transfer) final(body *body) store.Final {
	tr := trace{
		helo: t.tx.helo, greeting: t.tx.greeting, peer: t.peer, reverse: t.tx.reverse, utf8: t.tx.utf8, tls: t.tx.tls,
		host: t.server.config.Hostname, id: t.id, at: t.started,
	}
	if len(t.tx.paths) == 1 {
		tr.to = t.tx.paths[0]
	}
	lines := tr.field()
	if body.header.first.needsEmptyLine() {
		lines = append(lines, "\r\n"...)
	}
	return store.Final{Trace: lines, Recipients: t.tx.recipients, Origin: store.Origin{
		Peer: t.peer, MessageID: body.header.msgID, Paths: t.tx.paths,
	}}
}

// loggedPaths bounds the forward-paths that a log line names.
const loggedPaths = 10

// report tells the log and the metrics the message's fate.
func (t *transfer) report(err error) {
	k, level, code := noKind, zerolog.InfoLevel, 250
	if err != nil {
		k = kindOf(err)
		code, _, _ = k.words()
	}
	result, reason := k.messageLabels()
	if result == deferred {
		level = zerolog.WarnLevel
	}
	took := time.Since(t.started)
	id := ""
	if !t.id.IsZero() {
		id = t.id.String()
	}
	t.observer.Message(id, result, reason, t.octets, took)
	if err != nil {
		t.note(store.Refusal{
			From: t.tx.from, To: t.tx.paths, Verb: "DATA", Code: code, Reason: k.noted("DATA"), Octets: t.octets, MessageID: t.msgID,
		})
	}

	e := t.log.WithLevel(level)
	if !e.Enabled() {
		return
	}
	to := make([]string, 0, loggedPaths)
	for _, p := range t.tx.paths[:min(len(t.tx.paths), loggedPaths)] {
		to = append(to, printable(p))
	}
	e.Str("msg", t.id.String()).Str("from", printable(t.tx.from)).Strs("to", to).
		Int("recipients", len(t.tx.paths)).Int64("octets", t.octets).Str("result", result).Str("reason", reason).
		Int("code", code).Dur("took", took)
	if err != nil {
		e.Str("error", printable(err.Error()))
	}
	e.Msg("message")
}
