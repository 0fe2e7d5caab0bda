package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/migrate"
	"example.org/letterbox/cmd/letterbox/internal/probe"
	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
)

// moveTime bounds how long a whole mailbox may take to be moved.
const moveTime = 7 * 24 * time.Hour

// popPasswordVariable holds the password at the other server where it is not given otherwise.
const popPasswordVariable = "LETTERBOX_IMPORT_PASSWORD"

const importHelp = `Messages keep their UIDLs where the source has them, so that clients which leave mail on the server fetch nothing again. The order is
kept, the source is left as it is. Broken off, it can be run again: what is there is not moved twice.`

func moveCommands() []command {
	return []command{{
		name: "import maildir", usage: "PATH --to ADDRESS", text: "move mail in from a maildir, as Dovecot and Courier have it", min: 1, max: 1,
		more: importHelp, keys: storeKeys, setup: importFiles(migrate.OpenMaildir),
	}, {
		name: "import mbox", usage: "PATH --to ADDRESS", text: "move mail in from an mbox file", min: 1, max: 1,
		more: importHelp, keys: storeKeys, setup: importFiles(migrate.OpenMbox),
	}, {
		name: "import pop3", usage: "HOST --user U --to ADDR", text: "move mail in from another POP3 server, where it stays", min: 1, max: 1,
		more: importHelp, keys: storeKeys, setup: importPOP3,
	}, {
		name: "export maildir", usage: "PATH --from ADDRESS", text: "copy an account's mail to a maildir; again for what came since", min: 1, max: 1,
		keys: storeKeys, setup: exportTo(migrate.ExportMaildir),
	}, {
		name: "export mbox", usage: "PATH --from ADDRESS", text: "copy an account's mail to a new mbox file", min: 1, max: 1,
		keys: storeKeys, setup: exportTo(migrate.ExportMbox),
	}}
}

// needed returns the canonical form of an address that a flag has to give.
func needed(name, value string) (string, error) {
	if value == "" {
		return "", usagef("--%s is missing: the ADDRESS of the account", name)
	}
	return account(value)
}

func importFiles(open func(path string) (migrate.Source, error)) func(*flag.FlagSet) action {
	return func(fs *flag.FlagSet) action {
		to := fs.String("to", "", "the account's `ADDRESS`")
		return func(ctx context.Context, c *call) error {
			return c.moveIn(ctx, *to, func(context.Context) (migrate.Source, error) { return open(c.args[0]) })
		}
	}
}

// moveIn imports what open opens. The store is reached first: root takes on its owner before any file is opened.
func (c *call) moveIn(ctx context.Context, to string, open func(context.Context) (migrate.Source, error)) error {
	address, err := needed("to", to)
	if err != nil {
		return err
	}
	return c.admin(ctx, moveTime, func(ctx context.Context, admin store.Admin) error {
		source, err := open(ctx)
		if err != nil {
			return err
		}
		p := newProgress(c)
		r, err := migrate.Import(ctx, address, admin, source, p.watch())
		p.end()
		source.Close() //nolint:errcheck // nothing was changed there
		if err == nil || r != (migrate.Result{}) {
			fmt.Fprintf(c.stdout, "%d imported, %d there already, %d clashes, %d failures\n", r.Moved, r.There, r.Clashes, r.Failed)
		}
		return moveError(r, err)
	})
}

// moveError is why a move is not complete, nil if it is.
func moveError(r migrate.Result, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted; run it again and it goes on")
	case err != nil && r == (migrate.Result{}):
		return err
	case err != nil:
		return fmt.Errorf("stopped: %w; run it again and it goes on", err)
	case r.Failed > 0:
		return fmt.Errorf("%d could not be moved", r.Failed)
	}
	return nil
}

func exportTo(export func(context.Context, migrate.Store, string, string, migrate.Watch) (migrate.Result, error)) func(*flag.FlagSet) action {
	return func(fs *flag.FlagSet) action {
		from := fs.String("from", "", "the account's `ADDRESS`")
		return func(ctx context.Context, c *call) error {
			address, err := needed("from", *from)
			if err != nil {
				return err
			}
			return c.admin(ctx, moveTime, func(ctx context.Context, admin store.Admin) error {
				p := newProgress(c)
				r, err := export(ctx, admin, address, c.args[0], p.watch())
				p.end()
				if err == nil {
					fmt.Fprintf(c.stdout, "%d exported, %d there already, %d failures\n", r.Moved, r.There, r.Failed)
				}
				return moveError(r, err)
			})
		}
	}
}

// popFlags are the flags of import pop3.
type popFlags struct {
	to, user           string
	stdin, stls, clear bool
	timeout            time.Duration
}

func importPOP3(fs *flag.FlagSet) action {
	f := &popFlags{}
	fs.StringVar(&f.to, "to", "", "the account's `ADDRESS`")
	fs.StringVar(&f.user, "user", "", "the `NAME` to log in with there")
	fs.BoolVar(&f.stdin, "password-stdin", false, "read the password there from standard input, one line; else $"+popPasswordVariable+" is it, or a prompt asks")
	fs.BoolVar(&f.stls, "stls", false, "speak TLS after STLS (port 110) in place of TLS from the first octet on (port 995)")
	fs.BoolVar(&f.clear, "no-tls", false, "speak no TLS (port 110): the password goes in clear")
	fs.DurationVar(&f.timeout, "timeout", time.Minute, "longest `DURATION` of a wait for the server")
	return func(ctx context.Context, c *call) error {
		server, err := f.server(c.args[0])
		if err != nil {
			return err
		}
		// The password is there before the store is opened: while files are open no daemon can start.
		password, err := f.password(ctx, c)
		if err != nil {
			return err
		}
		return c.moveIn(ctx, f.to, func(ctx context.Context) (migrate.Source, error) {
			return migrate.OpenPOP3(ctx, server, f.user, password)
		})
	}
}

// server says how to reach host, which may have a port.
func (f *popFlags) server(host string) (probe.Options, error) {
	o := probe.Options{Target: host, Security: probe.Implicit, Timeout: f.timeout}
	port := "995"
	switch {
	case f.user == "":
		return o, usagef("--user is missing: the NAME to log in with at %s", host)
	case f.stls && f.clear:
		return o, usagef("only one of --stls and --no-tls can be given")
	case f.timeout <= 0:
		return o, usagef("--timeout must be over 0")
	case f.stls:
		o.Security, port = probe.StartTLS, "110"
	case f.clear:
		o.Security, port = probe.Clear, "110"
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		o.Target = net.JoinHostPort(host, port)
	}
	return o, nil
}

func (f *popFlags) password(ctx context.Context, c *call) (string, error) {
	if f.stdin {
		line, err := term.Line(c.stdin)
		if err != nil {
			return "", usagef("%s", err)
		}
		return line, nil
	}
	if password := variable(c.environ, popPasswordVariable); password != "" {
		return password, nil
	}
	in, ok := c.stdin.(*os.File)
	if !ok || !term.IsTerminal(in) {
		return "", usagef("standard input is no terminal: give the password by --password-stdin or in $%s", popPasswordVariable)
	}
	return term.Password(ctx, in, c.stderr, f.user)
}
