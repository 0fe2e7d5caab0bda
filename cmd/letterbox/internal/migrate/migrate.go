// Package migrate moves mail in from maildirs, mbox files and POP3 servers, and out to maildirs and mbox files. A move that was broken
// off is made again and goes on: nothing is lost and nothing is there twice.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"example.org/letterbox/store"
)

// Message is one message of a source.
type Message struct {
	Name string // for people
	// UIDL is what the source's POP3 clients know the message by; empty where they know none.
	UIDL string
	// Own is what we make the UIDL of where there is none: it is the same in each run. Empty for a digest of the content.
	Own string
	// Octets is the size that the source's POP3 server says, 0 where there is no such server.
	Octets int64
	// Read copies the message to w, in any line ends.
	Read func(w io.Writer) error
}

// Source is a mailbox that mail is moved in from, in the order of arrival.
type Source interface {
	Len() int
	Message(i int) Message
	Close() error
}

// Store is what a move needs of store.Admin.
type Store interface {
	Mail(ctx context.Context, address string) ([]store.Message, error)
	Copy(ctx context.Context, address string, id store.ID, w io.Writer) error
	Import(ctx context.Context, address, uidl string, body io.Reader) (store.ID, error)
}

// Watch is told how a move goes on. Either may be nil.
type Watch struct {
	Note     func(text string)     // a sentence about one message, which may hold a stranger's bytes
	Progress func(done, total int) // after each message
}

func (w Watch) note(format string, args ...any) {
	if w.Note != nil {
		w.Note(fmt.Sprintf(format, args...))
	}
}

func (w Watch) progress(done, total int) {
	if w.Progress != nil {
		w.Progress(done, total)
	}
}

// Result counts messages.
type Result struct {
	Moved   int // in or out
	There   int // already, from an earlier run
	Clashes int // of those moved in now: another message has their UIDL, and they have one of ours
	Failed  int
}

// fatalError ends a move: what comes behind it would fail too.
type fatalError struct{ cause error }

func (e *fatalError) Error() string { return e.cause.Error() }
func (e *fatalError) Unwrap() error { return e.cause }

// access says who may not reach a path, and what to do about it; other errors are returned as they are.
func access(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s can't be reached by uid %d, which the data folder belongs to: give it the right, or name a copy", path, os.Geteuid())
	}
	return err
}
