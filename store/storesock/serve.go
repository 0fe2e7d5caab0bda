package storesock

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxSessions is how many connections the deliver and the pickup service each take at once: 2,000 sessions of a
	// daemon, its idle connections, and some that are about to end. Each takes one descriptor on either side.
	maxSessions = 2500
	// smallBuffer is what a connection of these services reads ahead on the owner's side, in octets.
	smallBuffer = 4 << 10
	// stopGrace is how long a draft that is under way may go on once the service stops.
	stopGrace = 5 * time.Second
	// logBurst is how many warnings a minute each service writes: whoever may connect must not fill the log.
	logBurst = 30
)

// serveConns hands each connection of l to session until ctx ends or l is closed, then closes l, ends the context of the
// sessions and waits for them.
func serveConns(ctx context.Context, l net.Listener, log zerolog.Logger, session func(context.Context, net.Conn)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer cancel() // before the wait: ends those that are idle
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			log.Warn().Err(err).Msg("can't accept a connection")
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // out of descriptors, most likely
			}
		default:
			sessions.Go(func() { session(ctx, c) })
		}
	}
}

// service is what the owner's sides of deliver and pickup have in common.
type service struct {
	name  string
	id    string // the store's
	log   zerolog.Logger
	slots chan struct{}
	stall time.Duration // for the rest of a frame, and for one that is written
	idle  time.Duration // between two requests, where nothing is open
	grace time.Duration // for a draft under way, once the service stops
}

// newService makes a service for owner, whose method StoreID() string, where it has one, says what clients are told.
func newService(name string, owner any, log zerolog.Logger) service {
	s := service{
		name: name, slots: make(chan struct{}, maxSessions), stall: serverStall, idle: 10 * time.Minute, grace: stopGrace,
		log: log.With().Str("listener", name).Logger().Sample(&zerolog.BurstSampler{Burst: logBurst, Period: time.Minute}),
	}
	if named, ok := owner.(interface{ StoreID() string }); ok {
		s.id = named.StoreID()
	}
	return s
}

// welcome exchanges hellos on c. After an error the connection is to be closed; leave must be called in any case.
func (s *service) welcome(c net.Conn) (w *wire, leave func(), err error) {
	w = newLink(c, s.stall, smallBuffer)
	leave = func() {}
	refused := ""
	select {
	case s.slots <- struct{}{}:
		leave = func() { <-s.slots }
	default:
		refused = refusedBusy
		s.log.Warn().Int("connections", cap(s.slots)).Msg("too many connections at once: one is refused")
	}
	if err := w.greet(hello{Service: s.name, Store: s.id, Refused: refused}); err != nil {
		return nil, leave, err
	}
	if refused != "" {
		return nil, leave, io.EOF
	}
	_, err = w.greeting(s.name)
	return w, leave, err
}

// errRefused ends a connection whose client has been told why.
var errRefused = errors.New("refused")

// ended logs why a connection ended, unless that is as it should be.
func (s *service) ended(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, errRefused) || hungUp(err) {
		return
	}
	s.log.Warn().AnErr("reason", err).Msg("connection broken off")
}

// failed logs an error that the peer is told only the code of. Those that the daemons meet every day say all by their code.
func (s *service) failed(what, session string, err error) string {
	code := codeOf(err)
	switch code {
	case codeOther, "unavailable", "corrupt":
		s.log.Warn().AnErr("reason", err).Str("sid", session).Str("verb", what).Msg("a request failed")
	}
	return code
}
