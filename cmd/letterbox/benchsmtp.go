package main

import (
	"context"
	"flag"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/probe/bench"
)

const smtpModes = `Modes:
    accept   send messages, and say how many were accepted in which time (the default)
    idle     hold sessions that have greeted and say nothing more

Each message tells in its header what its body is, so that ` + "`bench pop3 drain`" + ` knows whether it came out as it went in.
For instance: letterbox bench smtp --target localhost:2525 --to me@localhost --connections 50 --messages 5000`

// benchSMTP defines the flags of bench smtp.
func benchSMTP(fs *flag.FlagSet) action {
	l := loadFlags(fs, "to", "starttls")
	l.passwordFlag(fs)
	a := bench.Accept{Size: 4 << 10}
	fs.IntVar(&l.run.Connections, "connections", 10, "`NUMBER` of connections at the same time; of sessions, when idle")
	fs.IntVar(&l.run.Count, "messages", 1000, "`NUMBER` of messages in all; 0 for as many as the time allows")
	fs.StringVar(&a.From, "from", "bench@bench.invalid", "reverse-path `ADDRESS`")
	sizeFlag(fs, &a.Size, "size", "`SIZE` of each message, header included (4KiB)")
	fs.BoolVar(&a.Mix, "mix", false, "sizes as in people's mailboxes: half up to 8 KiB, 1 % from 2 to 4 MiB")
	fs.IntVar(&a.Recipients, "recipients", 1, "`NUMBER` of recipients of each message")
	fs.IntVar(&a.PerConnection, "per-connection", 0, "`NUMBER` of messages after which a connection ends; 0 for no bound")
	fs.BoolVar(&a.Pipeline, "pipelining", false, "send MAIL, RCPT and DATA in one write")
	fs.BoolVar(&a.LMTP, "lmtp", false, "speak LMTP")
	fs.StringVar(&a.Retrieve.Target, "retrievable", "", "wait until the users can retrieve all that was accepted, at this POP3 server in clear: `HOST:PORT`")
	fs.DurationVar(&a.Retrieve.Wait, "retrievable-wait", 2*time.Minute, "longest `DURATION` of that wait")
	hold := fs.Duration("hold", 0, "`DURATION` for which idle sessions are held once all are there")
	return func(ctx context.Context, c *call) error {
		mode, err := oneOf(c.args, "accept", "idle")
		if err != nil {
			return err
		}
		if err := l.check(ctx, c); err != nil {
			return err
		}
		if mode == "idle" {
			idle := bench.Idle{POP3: bench.POP3{Run: l.run}, Protocol: "smtp", LMTP: a.LMTP, Hold: *hold}
			idle.Count = l.run.Connections
			r, err := idle.Do(ctx)
			return l.print(c, r, err)
		}
		a.Run = l.run
		if a.Recipients < 1 || a.Recipients > a.Users.N {
			return usagef("--recipients must be from 1 to the number of --users")
		}
		if err := l.retrieval(ctx, c, &a.Retrieve); err != nil {
			return err
		}
		r, err := a.Do(ctx)
		return l.print(c, r, err)
	}
}

// retrieval completes where messages are looked for.
func (l *load) retrieval(ctx context.Context, c *call, r *bench.Retrieve) error {
	if r.Target == "" {
		return nil
	}
	if _, err := l.mine(ctx, r.Target, c); err != nil {
		return err
	}
	r.Timeout = l.run.Server.Timeout
	var err error
	r.Password, err = l.password(c)
	return err
}
