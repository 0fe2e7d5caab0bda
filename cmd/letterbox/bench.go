package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/probe"
	"example.org/letterbox/cmd/letterbox/internal/probe/bench"
	"example.org/letterbox/cmd/letterbox/internal/term"
)

// passwordVariable holds the users' password where it is not given on standard input.
const passwordVariable = "LETTERBOX_BENCH_PASSWORD"

// ownServer stands in the help of both commands.
const ownServer = `It is a load like that of an attack: point it at your own server only. A target that is not on this machine wants
--yes-this-is-my-server. The run ends by itself, at its count or its time; Ctrl-C ends it and prints what was measured so far.
The exit status is 1 when anything failed.`

func benchCommands() []command {
	return []command{{
		name: "bench smtp", usage: "--target ADDR", text: "put load on your own SMTP or LMTP server and say how it did", max: 1,
		more: smtpModes + "\n\n" + ownServer, setup: benchSMTP,
	}, {
		name: "bench pop3", usage: "--target ADDR", text: "put load on your own POP3 server and say how it did", max: 1,
		more: pop3Modes + "\n\n" + ownServer, setup: benchPOP3,
	}}
}

// load is what the benches' flags have in common.
type load struct {
	run      bench.Run
	format   string
	first, n int
	stdin    bool
	asJSON   *bool
	own      bool
	anyCert  bool
	startTLS bool
	implicit bool
	pids     string
}

// loadFlags defines the flags of both benches; upgrade is what the protocol calls STARTTLS.
func loadFlags(fs *flag.FlagSet, users, upgrade string) *load {
	l := &load{asJSON: jsonFlag(fs)}
	fs.StringVar(&l.run.Server.Target, "target", "", "the server: `HOST:PORT` or unix:PATH")
	fs.BoolVar(&l.own, "yes-this-is-my-server", false, "the target is mine, though it is not on this machine")
	fs.StringVar(&l.format, users, "u%04d@bench.test", "the `ADDRESS` of each user; %d or %04d stands for the user's number")
	fs.IntVar(&l.n, "users", 1, "`NUMBER` of users")
	fs.IntVar(&l.first, "first", 0, "`NUMBER` of the first user")
	fs.BoolVar(&l.startTLS, upgrade, false, "speak TLS after "+strings.ToUpper(upgrade))
	fs.BoolVar(&l.implicit, "tls", false, "speak TLS from the first octet on")
	fs.BoolVar(&l.anyCert, "any-certificate", false, "take any certificate; on this machine every one is taken")
	fs.DurationVar(&l.run.Time, "time", 30*time.Second, "`DURATION` after which nothing new is begun")
	fs.DurationVar(&l.run.Server.Timeout, "timeout", 30*time.Second, "longest `DURATION` of a wait for the server")
	fs.StringVar(&l.pids, "pids", "", "`LIST` of process ids of a local server, with commas: adds its CPU time and memory, with all children's")
	return l
}

// passwordFlag defines the flag by which users' password is given.
func (l *load) passwordFlag(fs *flag.FlagSet) {
	fs.BoolVar(&l.stdin, "password-stdin", false, "read the users' password from standard input, one line; else $"+passwordVariable+" is it")
}

// password returns the users' password.
func (l *load) password(c *call) (string, error) {
	if l.stdin {
		line, err := term.Line(c.stdin)
		if err != nil {
			return "", usagef("%s", err)
		}
		return line, nil
	}
	if password := variable(c.environ, passwordVariable); password != "" {
		return password, nil
	}
	return "", usagef("give the users' password by --password-stdin or in $%s", passwordVariable)
}

// check makes a run of the flags, and refuses what can't be one.
func (l *load) check(ctx context.Context, c *call) error {
	var err error
	if l.run.Users, err = bench.NewUsers(l.format, l.first, l.n); err != nil {
		return usagef("%s", err)
	}
	switch {
	case l.run.Server.Target == "":
		return usagef("--target is missing: the HOST:PORT or unix:PATH of the server")
	case l.startTLS && l.implicit:
		return usagef("TLS begins after a command or with the first octet, not both")
	case l.run.Time <= 0 || l.run.Server.Timeout <= 0:
		return usagef("--time and --timeout must be over 0")
	case l.run.Connections < 1 || l.run.Count < 0:
		return usagef("there must be a connection at least, and a count can't be negative")
	case l.startTLS:
		l.run.Server.Security = probe.StartTLS
	case l.implicit:
		l.run.Server.Security = probe.Implicit
	}
	if l.run.PIDs, err = pids(l.pids); err != nil {
		return err
	}
	local, err := l.mine(ctx, l.run.Server.Target, c)
	if err != nil {
		return err
	}
	l.run.Server.TLS = &tls.Config{InsecureSkipVerify: l.anyCert || local}
	return bench.Reachable(ctx, l.run.Server)
}

// mine tells whether target is on this machine, and refuses any other that nobody said is theirs.
func (l *load) mine(ctx context.Context, target string, c *call) (local bool, err error) {
	if strings.HasPrefix(target, "unix:") {
		return true, nil
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil || host == "" {
		return false, usagef("%q is no target: write it as HOST:PORT or unix:PATH", target)
	}
	if onLoopback(ctx, host) {
		return true, nil
	}
	if !l.own {
		return false, usagef("%s is not on this machine: put load on your own server only, and say that it is by --yes-this-is-my-server", target)
	}
	fmt.Fprintf(c.stderr, "letterbox: %s is put under load for up to %s\n", target, l.run.Time)
	return false, nil
}

// onLoopback tells whether all that host resolves to is a loopback address.
func onLoopback(ctx context.Context, host string) bool {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for _, a := range addresses {
		if !a.IsLoopback() {
			return false
		}
	}
	return err == nil && len(addresses) > 0
}

func pids(list string) (all []int, err error) {
	for item := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		pid, err := strconv.Atoi(item)
		if err != nil || pid < 1 {
			return nil, usagef("--pids: %q is no process id", item)
		}
		all = append(all, pid)
	}
	return all, nil
}

// sizeFlag defines a flag that takes a size.
func sizeFlag(fs *flag.FlagSet, into *int, name, text string) {
	fs.Func(name, text, func(s string) error {
		n, err := config.ParseSize(s)
		if err == nil && n > 1<<30 {
			err = fmt.Errorf("%s is over 1GiB", s)
		}
		*into = int(n)
		return err
	})
}

// oneOf is an argument that names a mode; without one it is the first.
func oneOf(args []string, modes ...string) (string, error) {
	if len(args) == 0 {
		return modes[0], nil
	}
	for _, mode := range modes {
		if args[0] == mode {
			return mode, nil
		}
	}
	return "", usagef("there is no mode %q; there are: %s", args[0], strings.Join(modes, ", "))
}

// print prints a result, and returns an error where something had failed.
func (l *load) print(c *call, r *bench.Result, err error) error {
	if err != nil {
		return err
	}
	if *l.asJSON {
		err = term.JSON(c.stdout, r)
	} else {
		err = printResult(c.stdout, r)
	}
	if err != nil {
		return err
	}
	return r.Failed()
}
