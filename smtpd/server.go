package smtpd

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"example.org/letterbox/store"
	"github.com/rs/zerolog"
)

// Config is what a Server has for its life.
type Config struct {
	// Hostname is the name in the greeting and in Received fields.
	Hostname string
	// Store takes the messages. Where it is a store.Noter, too, it is told what is refused.
	Store store.Deliverer
	// TLS serves STARTTLS and listeners with implicit TLS; nil means no STARTTLS.
	TLS *tls.Config
	// Log gets a line for each session, for the fate of each message, and for each refusal.
	Log zerolog.Logger
	// Observer may be nil.
	Observer Observer
	// Resolver is asked where the policy wants to know something of the DNS; nil is the system's.
	Resolver Resolver
}

// Listener says by which door a connection came.
type Listener struct {
	Name string // a label, chosen by the operator
	TLS  bool   // implicit TLS (RFC 8314 section 3)
	LMTP bool   // RFC 2033
	// TLSInFront means that a proxy speaks TLS to the client: STARTTLS is not offered.
	TLSInFront bool
	// Quiet sessions are neither counted nor logged: letterbox's own look whether mail flows.
	Quiet bool
}

// Server receives mail on connections that others have accepted.
type Server struct {
	config   Config
	tls      *tls.Config
	observer Observer
	noter    store.Noter // nil: the store keeps no history
	senders  *senderDomains
	rules    atomic.Pointer[rules]
	buffers  sync.Pool

	// ctx is the life of the store calls of all sessions; it ends when Shutdown has no patience left.
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	sessions map[*session]struct{}
	closing  bool
	empty    chan struct{} // closed when closing and no session is left
}

// New returns a Server. It starts nothing: connections come through Handle.
func New(c Config, p Policy) *Server {
	s := &Server{
		config: c, observer: c.Observer,
		sessions: make(map[*session]struct{}), empty: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.buffers.New = func() any { return new([bufferBytes]byte) }
	s.noter, _ = c.Store.(store.Noter)
	if s.observer == nil {
		s.observer = unobserved{}
	}
	if c.TLS != nil {
		s.tls = c.TLS.Clone()
		s.tls.SessionTicketsDisabled = true // some large senders fail with them on port 25, and say nothing
	}
	s.senders = newSenderDomains(s.resolver())
	s.SetPolicy(p)
	return s
}

func (s *Server) resolver() Resolver {
	if s.config.Resolver == nil {
		return net.DefaultResolver
	}
	return s.config.Resolver
}

// SetPolicy replaces the policy. Sessions that began keep theirs.
func (s *Server) SetPolicy(p Policy) { s.rules.Store(newRules(p)) }

// Handle serves one session and closes c. It blocks until the session is over and returns no error: what went wrong is in
// the log.
func (s *Server) Handle(c net.Conn, l Listener) {
	ss := newSession(s, c, l)
	if !s.register(ss) {
		s.Busy(c, l)
		return
	}
	defer s.unregister(ss)
	ss.observer.Connection(l.Name, "accepted")
	ss.serve()
}

// observerOf returns who is told of a session at this door.
func (s *Server) observerOf(l Listener) Observer {
	if l.Quiet {
		return unobserved{}
	}
	return s.observer
}

// logOf is observerOf for the log.
func (s *Server) logOf(l Listener) zerolog.Logger {
	if l.Quiet {
		return zerolog.Nop()
	}
	return s.config.Log
}

// busyPatience is how long a client that is turned away may take to read why, or to hang up.
const busyPatience = 2 * time.Second

// Busy turns a connection away with a 421 and closes c. Where TLS comes first the client hears nothing: a handshake is what
// a busy server should save.
func (s *Server) Busy(c net.Conn, l Listener) {
	s.observerOf(l).Connection(l.Name, "busy")
	defer c.Close()
	if l.TLS {
		return
	}
	c.SetWriteDeadline(time.Now().Add(busyPatience))
	code, enhanced, text := tooBusy.words()
	line := replyLine(code, enhanced, s.config.Hostname+" is "+text)
	if _, err := io.WriteString(c, line); err == nil && closeWrite(c) {
		drain(c, busyPatience)
	}
}

func (s *Server) register(ss *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.sessions[ss] = struct{}{}
	return true
}

func (s *Server) unregister(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ss)
	if s.closing && len(s.sessions) == 0 {
		close(s.empty)
	}
}

// Shutdown ends all sessions. Those without a transaction get a 421 now, the others after their message. When ctx ends, what
// is left is closed, and Shutdown returns the error of ctx; a message that has not got its 250 by then is the sender's
// still. It may be called again.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, ss := range s.close() {
		ss.guard.stop()
	}
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	for _, end := range []func(*guard){(*guard).kill, (*guard).cut} {
		for _, ss := range s.open() {
			end(ss.guard)
		}
		// Closed connections end their sessions at once; only a store that does not listen to its context could hold one.
		select {
		case <-s.empty:
			return ctx.Err()
		case <-time.After(killPatience):
		}
	}
	return ctx.Err()
}

// killPatience is how long Shutdown waits for sessions that it has told to end, and again for those that it has cut.
const killPatience = time.Second

// close refuses further sessions and returns those that are open.
func (s *Server) close() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.closing = true
		if len(s.sessions) == 0 {
			close(s.empty)
		}
	}
	return s.list()
}

func (s *Server) open() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list()
}

func (s *Server) list() []*session {
	all := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		all = append(all, ss)
	}
	return all
}
