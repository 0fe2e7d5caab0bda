package boltstore

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"sync"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

// canaryDrop stands for the canary's maildrop, which is in no file: what is delivered there is written to the log and known
// to the memory alone. No account is ever given this number.
const canaryDrop = store.MaildropID(math.MaxUint64)

// maxCanaryMail bounds the messages that the canary has at once: of rounds that did not come to their end. The oldest goes.
const maxCanaryMail = 8

// canary is what the store knows of letterbox's own look whether mail flows. Its zero value is one that nobody can reach.
type canary struct {
	mu              sync.Mutex
	address, secret string
	own             map[netip.AddrPort]bool // where its connections come from now
	mail            []canaryMail            // delivered and not deleted, at most maxCanaryMail
}

// canaryMail is one message of the canary's.
type canaryMail struct {
	id       store.ID
	pos      seglog.Pos
	octets   int64
	external bool // the body is a file
}

// SetCanary lets mail for an address in, and a login with a secret, from loopback alone. The address is no account's and in
// no list, its mail counts for nothing, and nothing of either outlives the process. Both have to be such as nobody can guess.
func (s *Store) SetCanary(address, secret string) {
	s.canary.mu.Lock()
	defer s.canary.mu.Unlock()
	s.canary.address, s.canary.secret = address, secret
}

// CanaryFrom notes that the canary connects from this address and port, until done is called.
func (s *Store) CanaryFrom(from netip.AddrPort) (done func()) {
	c := &s.canary
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		c.own = map[netip.AddrPort]bool{}
	}
	c.own[from] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.own, from)
	}
}

// IsCanary implements store.CanaryWatch.
func (s *Store) IsCanary(_ context.Context, peer netip.AddrPort) (bool, error) {
	s.canary.mu.Lock()
	defer s.canary.mu.Unlock()
	return s.canary.own[peer], nil
}

// at tells whether a forward-path from this peer is the canary's. Whoever else names it is told what every unknown address is.
func (c *canary) at(to store.Address, peer netip.Addr) bool {
	if !peer.Unmap().IsLoopback() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.address != "" && to.String() == c.address
}

// admits tells whether a login is the canary's. Any other goes the way of all logins.
func (c *canary) admits(l store.Login) bool {
	if l.Exchange != nil || l.Proxied || !l.Peer.Unmap().IsLoopback() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.address != "" && subtle.ConstantTimeCompare([]byte(l.Name+"\x00"+l.Secret), []byte(c.address+"\x00"+c.secret)) == 1
}

func (s *Store) resolveCanary(size int64) (store.Target, error) {
	if s.space.tight(size) {
		return store.Target{}, fmt.Errorf("%w: the disk is almost full", store.ErrFull)
	}
	return store.Target{Maildrops: []store.MaildropID{canaryDrop}}, nil
}

// isCanary tells whether a message is for the canary and for nobody else; one for both finds no maildrop.
func isCanary(f store.Final) bool {
	return len(f.Recipients) == 1 && f.Recipients[0].Maildrop == canaryDrop
}

// checkCanary reads the head of a kindCanary record.
func checkCanary(head []byte, flags uint16) error {
	if len(head) == 0 {
		return nil
	}
	m, err := parseMessageHead(head, flags)
	if err == nil && len(m.recipients) > 0 {
		err = errHead
	}
	return err
}

// deliverCanary is deliver for the canary's message: the same draft, log and fdatasync, and no entry.
func (s *Store) deliverCanary(ctx context.Context, d *draft, f store.Final) error {
	trace := slices.Concat(f.Recipients[0].Prefix, f.Trace)
	view := messageView{session: []byte(d.envelope.Session), from: []byte(d.envelope.From), trace: trace}
	c := &change{kind: kindCanary, id: d.id, drop: canaryDrop}
	octets := int64(len(trace)) + d.size
	if d.spool != nil { // memory is short
		if err := d.spool.finish(); err != nil {
			return storeError(err)
		}
		view.body, c.flags = d.spool.got, flagExternal
		octets = int64(len(trace)) + view.body.size
	}
	r := &seglog.Record{Kind: kindCanary, Flags: c.flags, ID: d.id, Head: view.encode(c.flags), Body: d.pieces, Tag: c}
	if err := r.Prepare(); err != nil {
		return err
	}
	if err := s.append(ctx, r); err != nil {
		return err
	}
	s.keepCanary(canaryMail{d.id, c.pos, octets, c.flags&flagExternal != 0})
	return nil
}

// keepCanary adds a message to those that wait for the canary.
func (s *Store) keepCanary(m canaryMail) {
	s.canary.mu.Lock()
	s.canary.mail = append(s.canary.mail, m)
	var old []canaryMail
	if n := len(s.canary.mail) - maxCanaryMail; n > 0 {
		old = slices.Clone(s.canary.mail[:n])
		s.canary.mail = slices.Delete(s.canary.mail, 0, n)
	}
	s.canary.mu.Unlock()
	s.dropCanaryBodies(old)
}

// dropCanaryBodies removes the files of messages that are gone. What a crash leaves is swept at the next start.
func (s *Store) dropCanaryBodies(gone []canaryMail) {
	for _, m := range gone {
		if m.external {
			s.removeBodies([]store.ID{m.id})
		}
	}
}

// openCanary opens the canary's maildrop. Like any other it waits until what is pending for it has been through the index:
// one that can't be written is noticed.
func (s *Store) openCanary() (store.Maildrop, error) {
	if err := s.indexer.settle(canaryDrop); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	s.canary.mu.Lock()
	defer s.canary.mu.Unlock()
	m := &canaryMaildrop{s: s, mail: slices.Clone(s.canary.mail)}
	for _, mail := range m.mail {
		m.messages = append(m.messages, store.Message{ID: mail.id, Octets: mail.octets})
	}
	return m, nil
}

// canaryMaildrop is a session of the canary's. It has no lock: rounds come one after the other, and one that hangs must not
// make the next one fail.
type canaryMaildrop struct {
	s        *Store
	mail     []canaryMail
	messages []store.Message
}

// Messages implements store.Maildrop.
func (m *canaryMaildrop) Messages() []store.Message { return m.messages }

// Active implements store.Maildrop.
func (m *canaryMaildrop) Active() {}

// Lost implements store.Maildrop: it is never closed.
func (m *canaryMaildrop) Lost() <-chan struct{} { return nil }

// Close implements store.Maildrop.
func (m *canaryMaildrop) Close() error { return nil }

// Retrieve implements store.Maildrop: it reads the log, and checks the whole body first.
func (m *canaryMaildrop) Retrieve(ctx context.Context, i int) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i < 0 || i >= len(m.mail) {
		return nil, fmt.Errorf("no message at index %d", i)
	}
	rec, err := m.s.log.Read(m.mail[i].pos, m.mail[i].octets)
	if err != nil {
		return nil, corrupt(err)
	}
	b, err := m.assemble(rec, m.mail[i])
	if err != nil {
		rec.Close() //nolint:errcheck // it never fails
		return nil, corrupt(err)
	}
	return b, nil
}

func (m *canaryMaildrop) assemble(rec *seglog.Reader, mail canaryMail) (*message, error) {
	head, err := parseMessageHead(rec.Head, rec.Flags)
	if err != nil {
		return nil, err
	}
	b := &message{body: rec, size: int64(rec.BodyLen), parts: [2][]byte{head.trace}}
	if mail.external {
		b.size = head.body.size
	}
	if rec.Kind != kindCanary || rec.ID != mail.id || int64(len(head.trace))+b.size != mail.octets {
		return nil, &seglog.Corrupt{Pos: rec.Pos, ID: rec.ID, Reason: "it is not the canary's message"}
	}
	if mail.external {
		b.body, err = m.s.bodies.open(rec, head.body, &m.s.memory.next)
		return b, err
	}
	return b, rec.Check()
}

// Commit implements store.Maildrop. The deletion is a record of its own, durable like any other.
func (m *canaryMaildrop) Commit(ctx context.Context, deleted []int) error {
	if len(deleted) == 0 {
		return nil
	}
	gone := make([]canaryMail, len(deleted))
	for i, n := range deleted {
		if n < 0 || n >= len(m.mail) {
			return fmt.Errorf("no message at index %d", n)
		}
		gone[i] = m.mail[n]
	}
	err := m.s.write(ctx, func() *seglog.Record {
		id := m.s.ids.next()
		return &seglog.Record{Kind: kindCanary, ID: id, Tag: &change{kind: kindCanary, id: id, drop: canaryDrop}}
	})
	if err != nil {
		return err
	}
	m.s.canary.mu.Lock()
	m.s.canary.mail = slices.DeleteFunc(m.s.canary.mail, func(k canaryMail) bool { return slices.Contains(gone, k) })
	m.s.canary.mu.Unlock()
	m.s.dropCanaryBodies(gone)
	return nil
}
