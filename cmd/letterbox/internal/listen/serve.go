package listen

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// Handler is what a daemon does with a connection. Both methods block until they are done with it, and close it.
type Handler interface {
	Handle(c net.Conn)
	// Busy tells the client to come back later.
	Busy(c net.Conn)
}

// AcceptWatcher is a Handler that wants to know of errors of Accept: it is called once for each spell of them, from the
// accept loop.
type AcceptWatcher interface {
	AcceptFailed(err error)
}

// maxBusy bounds the busy lines that one listener says at once; beyond it a connection is closed without a word.
const maxBusy = 32

// The pause after an error of Accept doubles from the first to the last.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// Serve accepts connections and gives each a goroutine of its own with h, until l is closed: then it returns nil and does
// not wait for the connections. Where lim is not nil, connections beyond it are Busy. Accept is never held up by a
// connection, and tried again after errors that pass, such as too many open files; any other error is returned.
func Serve(l net.Listener, h Handler, lim *Limits) error {
	if lim == nil {
		lim = NewLimits(0, 0, nil)
	}
	busy := make(chan struct{}, maxBusy)
	pause := time.Duration(0)
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			dispatch(c, h, lim, busy)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if !passes(err) {
			return err
		}
		if w, ok := h.(AcceptWatcher); ok && pause == 0 {
			w.AcceptFailed(err)
		}
		pause = min(max(2*pause, firstPause), lastPause)
		time.Sleep(pause)
	}
}

func dispatch(c net.Conn, h Handler, lim *Limits, busy chan struct{}) {
	if release, ok := lim.admit(peerAddr(c)); ok {
		go func() {
			defer release()
			h.Handle(c)
		}()
		return
	}
	select {
	case busy <- struct{}{}:
		go func() {
			defer func() { <-busy }()
			h.Busy(c)
		}()
	default:
		c.Close()
	}
}

// passes tells whether an error of Accept may be gone the next time. accept(2) also hands out errors of the network that
// belong to one connection; only those say that the listener itself is no good.
func passes(err error) bool {
	for _, bad := range []error{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP, syscall.EFAULT} {
		if errors.Is(err, bad) {
			return false
		}
	}
	return true
}
