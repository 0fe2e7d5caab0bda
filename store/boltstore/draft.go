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
	kind     uint8    // of the record that it becomes
	replaces uint64   // kindRestore: the entry of the bin that goes
	foreign  string   // kindImport: the UIDL that it brought
	was      store.ID // kindRestore: the message that it was in the bin

	mu        sync.Mutex
	pieces    [][]byte
	size      int64  // of pieces
	spool     *spool // takes the body in place of pieces
	failed    error  // of a Write
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
	if s.space.tight(e.Declared) {
		return nil, fmt.Errorf("%w: the disk is almost full", store.ErrFull)
	}
	return &draft{s: s, id: s.ids.next(), envelope: e, kind: kindMessage}, nil
}

// ID implements store.Draft.
func (d *draft) ID() store.ID { return d.id }

// Write implements store.Draft. A body stays in memory up to maxInMemory, and while all drafts together hold no more than
// Options.BodyMemory; beyond either it goes to a file of its own.
func (d *draft) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.discarded || d.committed {
		return 0, errDiscarded
	}
	n, err := d.take(p)
	d.failed = err
	return n, err
}

// take is Write with the lock held.
func (d *draft) take(p []byte) (int, error) {
	if d.failed != nil {
		return 0, d.failed
	}
	if d.spool == nil {
		if d.size+int64(len(p)) <= maxInMemory && d.hold(p) {
			return len(p), nil
		}
		if err := d.spill(); err != nil {
			return 0, storeError(err)
		}
	}
	if d.s.space.tight(int64(len(p))) {
		return 0, fmt.Errorf("%w: the disk is almost full", store.ErrFull)
	}
	if err := d.spool.write(p); err != nil {
		return 0, storeError(err)
	}
	d.s.space.spend(int64(len(p)))
	return len(p), nil
}

// hold takes p into memory, all of it or nothing.
func (d *draft) hold(p []byte) bool {
	last := len(d.pieces) - 1
	free := 0
	if last >= 0 {
		free = cap(d.pieces[last]) - len(d.pieces[last])
	}
	var more [][]byte
	for need := len(p) - free; need > 0; {
		piece := d.s.memory.piece(len(d.pieces)+len(more) == 0)
		if piece == nil {
			d.s.memory.free(more)
			return false
		}
		more = append(more, piece)
		need -= cap(piece)
	}
	d.size += int64(len(p))
	if free > 0 {
		n := min(len(p), free)
		d.pieces[last] = append(d.pieces[last], p[:n]...)
		p = p[n:]
	}
	for _, piece := range more {
		n := min(len(p), cap(piece))
		d.pieces = append(d.pieces, append(piece, p[:n]...))
		p = p[n:]
	}
	return true
}

// spill moves what is in memory into a file.
func (d *draft) spill() error {
	sp, err := d.s.bodies.create(d.id)
	if err != nil {
		return err
	}
	if err := sp.write(d.pieces...); err != nil {
		sp.discard()
		return err
	}
	d.spool = sp
	d.free()
	return nil
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
	case d.failed != nil: // there would be a hole
		return d.failed
	}
	f, err := distinct(f)
	if err != nil {
		return err
	}
	d.committed = true
	d.outcome = d.s.deliver(ctx, d, f)
	if d.outcome == nil || errors.Is(d.outcome, seglog.ErrBroken) {
		// The message's own from now on; or nobody knows, before the log is opened again, whether a record names it.
		d.spool = nil
	}
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

// drop gives back what the draft holds.
func (d *draft) drop() {
	d.free()
	if d.spool != nil {
		d.spool.discard()
		d.spool = nil
	}
}

func (d *draft) free() {
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
	if len(f.Recipients) == 1 && len(f.Recipients[0].Prefix) <= store.MaxPrefix {
		return f, nil
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
	if isCanary(f) {
		return s.deliverCanary(ctx, d, f)
	}
	r, err := d.record(f)
	if err != nil {
		return err
	}
	s.admission.RLock()
	defer s.admission.RUnlock()
	dir := s.accounts.directory()
	for _, r := range f.Recipients {
		if dir.byDrop[r.Maildrop] == nil {
			return fmt.Errorf("%w: maildrop %d is gone", store.ErrUnavailable, r.Maildrop)
		}
	}
	if d.replaces != 0 { // it deletes too, as write does
		s.moving.RLock()
		defer s.moving.RUnlock()
	}
	if err := s.append(ctx, r); err != nil {
		return err
	}
	s.lastDelivery.Store(s.opt.Now().UnixNano())
	s.accepted(d, &f, r.Tag.(*change).octets, dir)
	return nil
}

// record makes the record of a message, and a large body durable before it.
func (d *draft) record(f store.Final) (*seglog.Record, error) {
	c := &change{kind: d.kind, id: d.id, octets: int64(len(f.Trace)) + d.size, replaces: d.replaces, foreign: d.foreign}
	view := messageView{session: []byte(d.envelope.Session), from: []byte(d.envelope.From), trace: f.Trace, foreign: []byte(d.foreign)}
	c.recipients = make([]entryRef, 0, len(f.Recipients))
	view.recipients = make([]recipientView, 0, len(f.Recipients))
	for _, r := range f.Recipients {
		c.recipients = append(c.recipients, entryRef{drop: r.Maildrop, prefix: int64(len(r.Prefix))})
		view.recipients = append(view.recipients, recipientView{drop: r.Maildrop, prefix: r.Prefix})
	}
	if d.spool != nil {
		if err := d.spool.finish(); err != nil {
			return nil, storeError(err)
		}
		view.body = d.spool.got
		c.flags |= flagExternal
		c.sum = d.spool.got.sum
		c.octets = int64(len(f.Trace)) + view.body.size
	}
	if d.foreign != "" {
		c.flags |= flagForeign
	}
	head := view.encode(c.flags)
	if d.kind == kindRestore {
		head = appendReplaced(d.replaces, head)
	}
	r := &seglog.Record{Kind: d.kind, Flags: c.flags, ID: d.id, Head: head, Body: d.pieces, Tag: c}
	return r, r.Prepare()
}
