package boltstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// draft holds one message in pieces of the shared memory until it is committed.
type draft struct {
	s        *Store
	id       store.ID
	envelope store.Envelope

	mu        sync.Mutex
	pieces    [][]byte
	discarded bool
	committed bool
	outcome   error
}

var errDiscarded = errors.New("draft was discarded")

// Begin implements store.Deliverer.
func (s *Store) Begin(ctx context.Context, e store.Envelope) (store.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.Health(); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return &draft{s: s, id: s.ids.next(), envelope: e}, nil
}

// ID implements store.Draft.
func (d *draft) ID() store.ID { return d.id }

// Write implements store.Draft. What all drafts hold together is bounded by Options.BodyMemory.
func (d *draft) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.discarded || d.committed {
		return 0, errDiscarded
	}
	written := 0
	for len(p) > 0 {
		last := len(d.pieces) - 1
		if last < 0 || len(d.pieces[last]) == cap(d.pieces[last]) {
			piece := d.s.memory.piece(last < 0)
			if piece == nil {
				return written, store.ErrFull
			}
			d.pieces = append(d.pieces, piece)
			last++
		}
		piece := d.pieces[last]
		n := min(len(p), cap(piece)-len(piece))
		d.pieces[last] = append(piece, p[:n]...)
		written += n
		p = p[n:]
	}
	return written, nil
}

// Commit implements store.Draft.
func (d *draft) Commit(ctx context.Context, f store.Final) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.committed:
		return d.outcome
	case d.discarded:
		return errDiscarded
	}
	f, err := distinct(f)
	if err != nil {
		return err
	}
	d.committed = true
	d.outcome = d.s.deliver(ctx, d, f)
	d.drop()
	return d.outcome
}

// Discard implements store.Draft.
func (d *draft) Discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.discarded = true
	d.drop()
}

func (d *draft) drop() {
	d.s.memory.free(d.pieces)
	d.pieces = nil
}

// distinct checks the bounds and keeps the first entry of each maildrop.
func distinct(f store.Final) (store.Final, error) {
	if len(f.Recipients) == 0 || len(f.Recipients) > store.MaxRecipients {
		return f, fmt.Errorf("a message has 1 to %d recipients, not %d", store.MaxRecipients, len(f.Recipients))
	}
	if len(f.Trace) > store.MaxTrace {
		return f, fmt.Errorf("trace has %d octets, %d are allowed", len(f.Trace), store.MaxTrace)
	}
	seen := make(map[store.MaildropID]bool, len(f.Recipients))
	once := make([]store.Recipient, 0, len(f.Recipients))
	for _, r := range f.Recipients {
		if len(r.Prefix) > store.MaxPrefix {
			return f, fmt.Errorf("prefix has %d octets, %d are allowed", len(r.Prefix), store.MaxPrefix)
		}
		if !seen[r.Maildrop] {
			seen[r.Maildrop] = true
			once = append(once, r)
		}
	}
	f.Recipients = once
	return f, nil
}

// deliver appends the message and returns when it is durable.
func (s *Store) deliver(ctx context.Context, d *draft, f store.Final) error {
	c := &change{kind: kindMessage, id: d.id, octets: int64(len(f.Trace))}
	for _, p := range d.pieces {
		c.octets += int64(len(p))
	}
	for _, r := range f.Recipients {
		c.recipients = append(c.recipients, entryRef{r.Maildrop, int64(len(r.Prefix))})
	}
	r := &seglog.Record{Kind: kindMessage, ID: d.id, Head: messageHead(d.envelope, f), Body: d.pieces, Tag: c}
	if err := r.Prepare(); err != nil {
		return err
	}
	s.admission.RLock()
	defer s.admission.RUnlock()
	dir := s.accounts.directory()
	for _, r := range f.Recipients {
		if !dir.drops[r.Maildrop] {
			return fmt.Errorf("%w: maildrop %d is gone", store.ErrUnavailable, r.Maildrop)
		}
	}
	if err := s.append(ctx, r); err != nil {
		return err
	}
	s.lastDelivery.Store(s.opt.Now().UnixNano())
	return nil
}
