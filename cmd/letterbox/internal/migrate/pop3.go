package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"

	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// pop3 is the maildrop of a POP3 session. Nothing in it is deleted.
type pop3 struct {
	client *probe.POP3
	sizes  []int64
	uidls  []string // nil: the server has no UIDL
}

// OpenPOP3 logs in at a POP3 server and lists the maildrop.
func OpenPOP3(ctx context.Context, server probe.Options, user, password string) (Source, error) {
	client, err := probe.DialPOP3(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", server.Target, err)
	}
	p := &pop3{client: client}
	if err := p.list(user, password); err != nil {
		client.Close()
		return nil, fmt.Errorf("%s: %w", server.Target, err)
	}
	return p, nil
}

func (p *pop3) list(user, password string) error {
	if err := p.client.Login(user, password); err != nil {
		return err
	}
	var err error
	if p.sizes, err = p.client.Sizes(); err != nil {
		return err
	}
	p.uidls, err = p.client.UIDLs()
	if refused := (*probe.StatusError)(nil); errors.As(err, &refused) {
		p.uidls, err = nil, nil // UIDL is optional (RFC 1939 section 7)
	}
	if err == nil && p.uidls != nil && len(p.uidls) != len(p.sizes) {
		err = fmt.Errorf("%w: LIST has %d messages and UIDL %d", probe.ErrProtocol, len(p.sizes), len(p.uidls))
	}
	return err
}

// Len implements Source.
func (p *pop3) Len() int { return len(p.sizes) }

// Close implements Source. It says QUIT: a server may keep a maildrop locked behind a connection that breaks.
func (p *pop3) Close() error { return p.client.Quit() }

// Message implements Source.
func (p *pop3) Message(i int) Message {
	m := Message{Name: fmt.Sprintf("message %d", i+1), Octets: p.sizes[i]}
	if p.uidls != nil {
		m.UIDL = p.uidls[i]
	}
	m.Read = func(w io.Writer) error {
		_, err := p.client.Retrieve(i+1, w)
		if refused := (*probe.StatusError)(nil); err == nil || errors.As(err, &refused) {
			return err
		}
		return &fatalError{err}
	}
	return m
}
