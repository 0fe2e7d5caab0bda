package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/migrate"
	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
)

// progress tells people on a terminal how far a long command is; elsewhere only what is worth a line.
type progress struct {
	c        *call
	terminal bool
	shown    time.Time
	line     bool // there is a line that is not ended
}

func newProgress(c *call) *progress { return &progress{c: c, terminal: term.IsTerminal(c.stderr)} }

func (p *progress) watch() migrate.Watch {
	return migrate.Watch{
		Note: func(text string) {
			p.end()
			fmt.Fprintln(p.c.stderr, term.Printable(text))
		},
		Progress: func(done, total int) { p.show(done == total, "%d of %d messages", done, total) },
	}
}

// of returns a context that shows how far a call of the store is, as text says it of what is done and the total.
func (p *progress) of(ctx context.Context, text func(done, total int64) string) context.Context {
	if !p.terminal {
		return ctx
	}
	return store.WithProgress(ctx, func(done, total int64) { p.show(done == total, "%s", text(done, total)) })
}

// show replaces the line, unless it is young and there is more to come.
func (p *progress) show(last bool, format string, args ...any) {
	if now := time.Now(); p.terminal && (last || now.Sub(p.shown) > 100*time.Millisecond) {
		p.shown, p.line = now, true
		fmt.Fprintf(p.c.stderr, "\r\x1b[K"+format, args...)
	}
}

// end ends the line.
func (p *progress) end() {
	if p.line {
		fmt.Fprintln(p.c.stderr)
		p.line = false
	}
}

// octets counts what goes by, to a writer or from a reader, and shows it.
type octets struct {
	*progress
	what string
	n    int64
	w    io.Writer
	r    io.Reader
}

// Write implements io.Writer.
func (o *octets) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.passed(n)
	return n, err
}

// Read implements io.Reader.
func (o *octets) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	o.passed(n)
	return n, err
}

func (o *octets) passed(n int) {
	o.n += int64(n)
	o.show(false, "%s %s", term.Octets(o.n), o.what)
}
