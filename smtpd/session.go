package smtpd

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"example.org/letterbox/store"
	"github.com/emersion/go-smtp"
	"github.com/rs/zerolog"
)

// session is one connection, from before its first octet to after its last. It is go-smtp's Backend and, for each greeting
// on a fresh connection or under fresh TLS, its Session.
//
// Reset and Logout are called with go-smtp's lock held, and Data of a BDAT in a goroutine of its own: none of them calls
// smtp.Conn's Close, Session or Reject, which lock.
type session struct {
	id       string
	server   *Server
	listener Listener
	observer Observer
	peer     netip.Addr
	guard    *guard
	first    net.Conn // the outermost connection, until STARTTLS
	log      zerolog.Logger

	conn   *smtp.Conn    // known from the first greeting on; go-smtp's goroutine only
	lookUp func() string // the peer's name in the DNS, asked for once

	mu      sync.Mutex
	tx      *transaction
	over    bool       // go-smtp is done: no transfer may begin
	running int        // transfers
	quiet   *sync.Cond // running has changed
}

// transaction is one message's envelope. A transfer holds on to the one that it began with: a later one is another.
type transaction struct {
	from       string
	utf8       bool // SMTPUTF8 (RFC 6531)
	declared   int64
	helo       string
	greeting   string
	reverse    string // the peer's name in the DNS, where that is asked for
	tls        *tls.ConnectionState
	paths      []string // forward-paths that were taken
	recipients []store.Recipient
	begun      bool // its content is coming, or has come
	done       bool // its transfer has returned
}

var (
	_ smtp.Backend     = (*session)(nil)
	_ smtp.LMTPSession = (*session)(nil)
)

func newSession(s *Server, c net.Conn, l Listener) *session {
	id := rand.Text()[:8] // 40 bits: unique among the sessions that one log holds
	ss := &session{
		id: id, server: s, listener: l, observer: s.observerOf(l), peer: peerOf(c.RemoteAddr()),
		guard: newGuard(c, id, s.rules.Load()),
		log:   s.logOf(l).With().Str("sid", id).Str("role", "smtpd").Str("listener", l.Name).Str("remote", remoteText(c)).Logger(),
	}
	ss.quiet = sync.NewCond(&ss.mu)
	ss.lookUp = sync.OnceValue(func() string { return reverseName(s.ctx, s.resolver(), ss.peer) })
	ss.first = ss.guard
	ss.guard.tap.lmtp = l.LMTP
	ss.guard.farewell, ss.guard.secured, ss.guard.counted, ss.guard.rescue = ss.farewell, ss.secured, ss.counted, ss.rescue
	return ss
}

// NewSession is go-smtp's first greeting of a client, or the first under TLS.
func (s *session) NewSession(c *smtp.Conn) (_ smtp.Session, err error) {
	defer s.protect("EHLO", &err)
	s.conn = c
	if k := greetingFault(c.Hostname()); k != noKind {
		return nil, smtpError(refuse(k), s.id)
	}
	return s, nil
}

// Mail begins a transaction (RFC 5321 section 4.1.1.2).
func (s *session) Mail(from string, opts *smtp.MailOptions) (err error) {
	defer s.protect("MAIL", &err)
	err = s.mail(from, opts)
	if err != nil {
		s.refused("MAIL", from, "", err)
	}
	return smtpError(err, s.id)
}

func (s *session) mail(from string, opts *smtp.MailOptions) error {
	if s.transaction() != nil { // go-smtp would go on with the recipients of the first
		return refuse(nested)
	}
	// A second EHLO gives no callback: the name is read afresh, and judged here.
	helo := s.conn.Hostname()
	k := greetingFault(helo)
	if k == noKind && opts.Size > s.guard.rules.MaxMessageBytes { // RFC 1870 section 6.1
		k = tooLarge
	}
	if k == noKind {
		k = reversePathFault(from, opts.UTF8)
	}
	if k == noKind && s.guard.rules.VerifySenderDomain {
		k = s.server.senders.check(s.server.ctx, from)
	}
	if k != noKind {
		return refuse(k)
	}
	tx := &transaction{
		from: from, utf8: opts.UTF8, declared: opts.Size, helo: helo, greeting: s.guard.greeting(),
	}
	if state, ok := s.conn.TLSConnectionState(); ok {
		tx.tls = new(state) // not &state, which would be on the heap without TLS too
	}
	if s.guard.rules.ReverseDNS {
		tx.reverse = s.lookUp()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx = tx
	s.guard.occupy(true)
	return nil
}

// Rcpt adds a recipient (RFC 5321 section 4.1.1.3).
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) (err error) {
	defer s.protect("RCPT", &err)
	tx := s.transaction()
	if tx == nil {
		return smtpError(refuse(outOfStep), s.id) // go-smtp has checked
	}
	err = s.rcpt(tx, to)
	label := "ok"
	if err != nil {
		label = kindOf(err).recipientLabel()
		s.refused("RCPT", tx.from, to, err)
		if kindOf(err) == tooMany && len(tx.paths) > 0 {
			s.guard.surplus()
		}
	}
	s.observer.Recipient(label)
	return smtpError(err, s.id)
}

func (s *session) rcpt(tx *transaction, to string) error {
	to, k := s.forwardPath(to, tx.utf8)
	if k == noKind && len(tx.paths) >= s.guard.rules.MaxRecipients {
		k = tooMany
	}
	if k != noKind {
		return refuse(k)
	}
	target, err := s.resolve(tx, to)
	if errors.Is(err, store.ErrNotLocal) && s.guard.rules.isLocal(to) {
		return &refusal{kind: temporary, cause: err}
	}
	if err != nil {
		return err
	}
	return tx.add(to, target)
}

func (s *session) resolve(tx *transaction, to string) (store.Target, error) {
	return s.server.config.Store.Resolve(s.server.ctx, store.Attempt{
		Session: s.id, Peer: s.peer, From: tx.from, To: to, Size: tx.declared,
	})
}

// add takes a forward-path. A maildrop that has the message already, by another path, gets it once.
func (tx *transaction) add(to string, target store.Target) error {
	var fresh []store.Recipient
	for _, m := range target.Maildrops {
		if !tx.reaches(m) {
			fresh = append(fresh, store.Recipient{Maildrop: m, Prefix: ownLines(tx.from, to)})
		}
	}
	if len(tx.recipients)+len(fresh) > store.MaxRecipients {
		return refuse(tooMany)
	}
	tx.recipients = append(tx.recipients, fresh...)
	tx.paths = append(tx.paths, to)
	return nil
}

// reaches tells whether a maildrop gets the message already. There are store.MaxRecipients at most.
func (tx *transaction) reaches(m store.MaildropID) bool {
	return slices.ContainsFunc(tx.recipients, func(r store.Recipient) bool { return r.Maildrop == m })
}

// Reset ends the transaction. Where BDAT has begun a message, go-smtp could tell the next one the result of this one: the
// connection ends.
func (s *session) Reset() {
	defer s.rescue()
	s.endTransaction()
}

// Logout ends what go-smtp calls a session: at the end of the connection, and at STARTTLS.
func (s *session) Logout() (err error) {
	defer s.protect("QUIT", &err)
	s.endTransaction()
	return nil
}

func (s *session) endTransaction() {
	s.mu.Lock()
	tx := s.tx
	s.tx = nil
	halfway := tx != nil && !tx.done
	s.mu.Unlock()
	s.guard.endMessage(halfway)
}

func (s *session) transaction() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx
}

// Data takes a message (RFC 5321 section 4.1.1.4, RFC 3030 section 2). Its success is an *smtp.SMTPError too, since that
// is how go-smtp lets us choose the words.
func (s *session) Data(r io.Reader) (err error) {
	defer s.protect("DATA", &err)
	return s.transfer(r)
}

// LMTPData is Data for LMTP. All recipients have the same fate, since the store takes a message for all or for none:
// go-smtp gives the one result to each (RFC 2033 section 4.2).
func (s *session) LMTPData(r io.Reader, _ smtp.StatusCollector) (err error) {
	defer s.protect("DATA", &err)
	return s.transfer(r)
}

// protect makes a panic the end of this connection alone.
func (s *session) protect(verb string, err *error) {
	if p := recover(); p != nil {
		s.panicked(verb, p, ending{reason: endPanic, reply: internal, silent: true})
		*err = smtpError(refuse(internal), s.id)
	}
}

// rescue is protect where the reply is not ours, or is on its way: the 421 comes as a line of its own.
func (s *session) rescue() {
	if p := recover(); p != nil {
		s.panicked(otherVerb, p, ending{reason: endPanic, reply: internal})
	}
}

func (s *session) panicked(verb string, p any, e ending) {
	s.guard.abort(e)
	s.log.Error().Str("verb", verb).Str("reason", endPanic).Str("error", printable(fmt.Sprint(p))).
		Bytes("stack", debug.Stack()).Msg("panic in a session")
}

// secured is one TLS handshake that succeeded.
func (s *session) secured() {
	version := "none"
	if c, ok := s.outermost().(*tls.Conn); ok {
		version = tlsVersion(c.ConnectionState())
	}
	s.observer.Handshake(s.listener.Name, version, "ok")
}

func (s *session) counted(verb string, code int, took time.Duration) {
	s.observer.Command(verb, code, took)
}

// farewell writes one last line, and ends TLS for the part of us.
func (s *session) farewell(k kind) {
	c := s.outermost()
	if c == nil {
		return
	}
	io.WriteString(c, k.line(s.id))
	if t, ok := c.(*tls.Conn); ok {
		t.CloseWrite()
	}
}

// outermost is the connection that plain text is written to, nil where go-smtp has not shown it yet: after a STARTTLS
// without any greeting before it.
func (s *session) outermost() net.Conn {
	if s.conn != nil {
		return s.conn.Conn()
	}
	if s.guard.upgraded() && s.first == net.Conn(s.guard) {
		return nil
	}
	return s.first
}

// peerOf returns the client's address, invalid for a unix socket.
func peerOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap()
}

func remoteText(c net.Conn) string {
	if p := peerOf(c.RemoteAddr()); p.IsValid() {
		return p.String()
	}
	return "local"
}

// tlsVersion is the label of a handshake.
func tlsVersion(s tls.ConnectionState) string {
	switch s.Version {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	default:
		return "none"
	}
}
