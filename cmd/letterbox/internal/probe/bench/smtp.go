package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// Accept is the load of senders: each connection sends one message after another.
type Accept struct {
	Run
	From          string // reverse-path
	Size          int    // octets of a message, about
	Mix           bool   // sizes as in people's mailboxes, in place of Size
	Recipients    int    // of each message: neighbours among the users
	PerConnection int    // messages, then QUIT; 0: no bound
	Pipeline      bool   // MAIL, RCPT and DATA in one write
	LMTP          bool
	// Retrieve, where its target is set, is the POP3 server that the messages appear at. The run then goes on until all that were
	// accepted can be retrieved: a server may queue what it accepts.
	Retrieve Retrieve
}

// Do runs the load. It fails only where nothing could be measured.
func (a Accept) Do(ctx context.Context) (*Result, error) {
	a.Server.Buffer = 16 << 10
	now := time.Now()
	c := newCorpus(strconv.FormatInt(now.UnixNano(), 36), a.From, now)
	before, err := a.Retrieve.count(ctx, a.Users)
	if err != nil {
		return nil, err
	}
	measured, err := watch(a.PIDs)
	if err != nil {
		return nil, err
	}
	w, end := a.start(ctx)
	defer end()
	sum := w.each(func(t *tally) { a.sender(w, t, c) })
	r := w.result("smtp", "accept", "messages", sum)
	if a.Retrieve.Target != "" && sum.done > 0 {
		// Every recipient's copy has to be there.
		r.until(ctx, w, a.Retrieve, before+int(sum.done)*a.Recipients)
	}
	return r, measured.into(r)
}

// sender is one connection's share: it dials anew where a connection was lost or had its number of messages.
func (a Accept) sender(w *work, t *tally, c *corpus) {
	var s *probe.SMTP
	sent := 0
	for {
		n, more := w.take()
		if !more {
			break
		}
		if s == nil {
			if s, sent = a.dial(w, t), 0; s == nil {
				w.pause()
				continue
			}
		}
		if !a.one(t, s, c, n) {
			s.Close()
			s = nil
			continue
		}
		if sent++; sent == a.PerConnection {
			a.quit(t, s)
			s = nil
		}
	}
	if s != nil {
		a.quit(t, s)
	}
}

func (a Accept) dial(w *work, t *tally) *probe.SMTP {
	began := time.Now()
	s, err := probe.DialSMTP(w.hard, w.Server, hostname(), a.LMTP)
	if err != nil {
		t.failed(err)
		return nil
	}
	if _, offered := s.Extensions["PIPELINING"]; a.Pipeline && !offered {
		t.failed(fmt.Errorf("%w: it does not offer PIPELINING", probe.ErrProtocol))
		s.Close()
		return nil
	}
	t.took("connect", began)
	return s
}

func (a Accept) quit(t *tally, s *probe.SMTP) {
	if err := s.Quit(); err != nil {
		t.failed(err)
	}
}

// one sends message n, and tells whether the connection can be used on.
func (a Accept) one(t *tally, s *probe.SMTP, c *corpus, n int) bool {
	e := probe.Envelope{From: a.From, Pipeline: a.Pipeline}
	for i := range a.Recipients {
		e.To = append(e.To, a.Users.Name(n*a.Recipients+i))
	}
	size := a.Size
	if a.Mix {
		size = mixedSize(n)
	}
	m := c.message(n, size, e.To[0])
	began := time.Now()
	if err := s.Send(e, m); err != nil {
		t.failed(err)
		return false
	}
	t.took("message", began)
	t.finished(m.octets)
	return true
}
