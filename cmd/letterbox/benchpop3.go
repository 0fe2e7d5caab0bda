package main

import (
	"context"
	"flag"

	"example.org/letterbox/cmd/letterbox/internal/probe/bench"
)

const pop3Modes = `Modes:
    drain    retrieve every message of each user's maildrop once, and compare its octets with what LIST says; messages of
             ` + "`bench smtp`" + ` are compared whole. Nothing is deleted without --delete (the default)
    list     log in, ask STAT, UIDL and LIST of each user's maildrop once, and hold the answers against each other
    login    log in, ask STAT and quit, again and again, each connection for users of its own
    idle     hold sessions that are logged in, each for a user of its own, and say nothing more

For instance: letterbox bench pop3 login --target localhost:2110 --user me@localhost --time 5s`

// benchPOP3 defines the flags of bench pop3.
func benchPOP3(fs *flag.FlagSet) action {
	l := loadFlags(fs, "user", "stls")
	l.passwordFlag(fs)
	d := bench.Drain{}
	fs.IntVar(&l.run.Connections, "connections", 1, "`NUMBER` of connections at the same time; of sessions, when idle")
	logins := fs.Int("logins", 0, "`NUMBER` of logins in all; 0 for as many as the time allows")
	fs.IntVar(&d.Window, "window", 1, "`NUMBER` of commands under way at the same time in a drain; over 1 is pipelining")
	fs.BoolVar(&d.Delete, "delete", false, "DELETE what was drained, for ever")
	fs.IntVar(&d.Most, "messages", 0, "largest `NUMBER` of messages to drain from each maildrop; 0 for all")
	before := fs.Bool("before-login", false, "idle sessions don't log in")
	hold := fs.Duration("hold", 0, "`DURATION` for which idle sessions are held once all are there")
	return func(ctx context.Context, c *call) error {
		mode, err := oneOf(c.args, "drain", "list", "login", "idle")
		if err != nil {
			return err
		}
		if d.Window < 1 || d.Most < 0 || *logins < 0 {
			return usagef("--window must be 1 at least, and --messages and --logins can't be negative")
		}
		if mode == "idle" && !*before && l.n < l.run.Connections {
			return usagef("%d sessions that are logged in want as many --users, since a maildrop is locked; or say --before-login", l.run.Connections)
		}
		p, err := l.pop3(ctx, c, mode == "idle" && *before)
		if err != nil {
			return err
		}
		var r *bench.Result
		switch mode {
		case "drain":
			d.POP3 = p
			r, err = d.Do(ctx)
		case "list":
			r, err = bench.List{POP3: p}.Do(ctx)
		case "login":
			p.Count = *logins
			r, err = bench.Login{POP3: p}.Do(ctx)
		case "idle":
			p.Count = p.Connections
			r, err = bench.Idle{POP3: p, Protocol: "pop3", LoggedIn: !*before, Hold: *hold}.Do(ctx)
		}
		return l.print(c, r, err)
	}
}

// pop3 is what all modes need.
func (l *load) pop3(ctx context.Context, c *call, anonymous bool) (p bench.POP3, err error) {
	if err := l.check(ctx, c); err != nil {
		return p, err
	}
	p.Run = l.run
	if !anonymous {
		p.Password, err = l.password(c)
	}
	return p, err
}
