package pop3d

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
)

// Server serves POP3 on connections that others accept.
type Server struct {
	config     Config
	tls        *tls.Config
	observer   Observer
	policy     atomic.Pointer[Policy]
	commands   map[string]command
	mechanisms []mechanism
	buffers    *slabs
	// ctx is that of every call to the store; it ends when Shutdown has.
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	conns    map[*guard]struct{}
	draining bool
	empty    chan struct{} // closed once draining and without connections
}

// New returns a server. It starts nothing.
func New(c Config, p Policy) *Server {
	s := &Server{
		config: c, observer: c.Observer, commands: commandTable(), mechanisms: mechanismTable(),
		conns: make(map[*guard]struct{}), empty: make(chan struct{}), buffers: newSlabs(),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if s.observer == nil {
		s.observer = nobody{}
	}
	if c.TLS != nil {
		s.tls = c.TLS.Clone()
		s.tls.MinVersion = max(s.tls.MinVersion, tls.VersionTLS12)
	}
	s.SetPolicy(p)
	return s
}

// SetPolicy replaces the policy. Sessions that have begun keep theirs.
func (s *Server) SetPolicy(p Policy) { s.policy.Store(p.withDefaults()) }

// Handle serves one session on c, blocks until it is over, and closes c.
func (s *Server) Handle(c net.Conn, l Listener) {
	g := &guard{Conn: c}
	if !s.enter(g) {
		turnAway(g, l, "shutting down")
		return
	}
	defer s.leave(g)
	ss := newSession(s, g, l)
	ss.observer.Connection(l.Name, connectionAccepted)
	ss.run()
}

// Busy turns c away because there are too many connections already, and closes it. It takes a few seconds at most.
func (s *Server) Busy(c net.Conn, l Listener) {
	g := &guard{Conn: c}
	if s.enter(g) {
		defer s.leave(g)
	}
	s.observer.Connection(l.Name, connectionBusy)
	turnAway(g, l, "too many connections, try again later")
}

// turnAway says why there is no session. Where TLS is implicit it says nothing: a handshake costs more than the session
// that there is no room for.
func turnAway(g *guard, l Listener, why string) {
	defer g.Close()
	if l.TLS {
		return
	}
	g.hurry()
	if _, err := g.Write([]byte("-ERR [" + string(codeTemporary) + "] " + why + "\r\n")); err == nil {
		g.linger()
	}
}

// Shutdown ends sessions that wait for a command, lets those that execute one finish it, and returns when all are over.
// Commands that have come already are still carried out. When ctx ends first, every connection is closed and every call
// to the store is cancelled, and it returns the context's error. New connections are turned away from now on.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		s.closeIfEmpty()
	}
	for g := range s.conns {
		g.wake()
	}
	s.mu.Unlock()

	defer s.cancel()
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.conns {
		_ = g.Close() // its session ends with an error of its own
	}
	return ctx.Err()
}

// enter registers a connection, unless the server is shutting down.
func (s *Server) enter(g *guard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.conns[g] = struct{}{}
	return true
}

// leave forgets a connection.
func (s *Server) leave(g *guard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, g)
	s.closeIfEmpty()
}

// closeIfEmpty tells Shutdown that nobody is left. The lock is held, and after this no connection can enter again.
func (s *Server) closeIfEmpty() {
	if s.draining && len(s.conns) == 0 {
		close(s.empty)
	}
}
