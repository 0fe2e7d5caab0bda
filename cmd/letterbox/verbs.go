package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"example.org/letterbox/cmd/letterbox/internal/config"
)

// call is one use of a command: what it was given and where it reads and prints.
type call struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer

	args  []string      // without flags
	flags *config.Flags // those that set keys
}

// config resolves the configuration as flags, environment and file have it.
func (c *call) config() (*config.Config, error) { return config.Load(c.flags, c.environ) }

// action runs a command whose flags were parsed.
type action func(context.Context, *call) error

// command is one row of the table of commands.
type command struct {
	name     string // one to three words
	usage    string // its arguments
	text     string // one line for the help
	more     string // what `help COMMAND` says below that line
	min, max int    // arguments; max < 0: any number
	keys     func(config.Key) bool
	setup    func(*flag.FlagSet) action // defines the command's own flags
}

// Which keys have flags in a command: all of them where the daemon's configuration is at stake, else those that say where
// the store is.
func allKeys(config.Key) bool     { return true }
func storeKeys(k config.Key) bool { return k.Name == "data" || k.Name == "run" }

// commands returns the table, in the order of the help.
func commands() []command {
	var table []command
	for _, group := range [][]command{
		serveCommands(), userCommands(), appPasswordCommands(), aliasCommands(), catchallCommands(), blockCommands(), keepCommands(),
		moveCommands(), traceCommands(), configCommands(), inspectCommands(), healthCommands(), canaryCommands(), monitorCommands(), benchCommands(), versionCommands(),
	} {
		table = append(table, group...)
	}
	return append(table, command{
		name: "help", usage: "[COMMAND]", text: "say what the commands are, or how one is used", max: 3, setup: help,
	})
}

// dispatch finds the command that args begin with and runs it.
func dispatch(ctx context.Context, args []string, c *call) error {
	if len(args) == 0 {
		printCommands(c.stderr)
		return usagef("no command given")
	}
	switch args[0] {
	case "-h", "-help", "--help":
		printCommands(c.stdout)
		return nil
	case "-version", "--version":
		args = []string{"version"}
	}
	cmd, rest, err := find(args)
	if err != nil {
		return err
	}
	return cmd.run(ctx, rest, c)
}

// find returns the command and what stands behind its name.
func find(args []string) (command, []string, error) {
	var depth int
	var group []string // the words that may stand behind the first depth of args
	for _, cmd := range commands() {
		words := strings.Fields(cmd.name)
		n := 0
		for n < min(len(words), len(args)) && words[n] == args[n] {
			n++
		}
		if n == len(words) {
			return cmd, args[n:], nil
		}
		if n > depth {
			depth, group = n, nil
		}
		if n == depth && !slices.Contains(group, words[n]) {
			group = append(group, words[n])
		}
	}
	begin := strings.Join(args[:depth], " ")
	switch {
	case depth > 0 && len(args) == depth:
		return command{}, nil, usagef("%s what? One of: %s", begin, strings.Join(group, ", "))
	case depth > 0:
		return command{}, nil, usagef("%s has no %q; it has: %s", begin, args[depth], strings.Join(group, ", "))
	case strings.HasPrefix(args[0], "-"):
		return command{}, nil, usagef("the command comes first and flags behind it: letterbox COMMAND %s", args[0])
	}
	return command{}, nil, usagef("unknown command %q; `letterbox help` lists them", args[0])
}

// run parses the flags, which may stand before, between and behind the arguments, and runs the command.
func (cmd command) run(ctx context.Context, args []string, c *call) error {
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // we print the error ourselves, once
	if cmd.keys != nil {
		c.flags = config.Register(fs, cmd.keys)
	}
	act := cmd.setup(fs)
	var err error
	c.args, err = parse(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		cmd.printHelp(c.stdout, fs)
		return err
	case err != nil:
		return usagef("%s; see `letterbox help %s`", err, cmd.name)
	case len(c.args) < cmd.min || cmd.max >= 0 && len(c.args) > cmd.max:
		return usagef("usage: letterbox %s", cmd.line())
	}
	return act(ctx, c)
}

// parse parses flags anywhere among the arguments, which it returns. All that stands behind "--" is an argument.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var plain []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return plain, nil
		}
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			return append(plain, rest...), nil
		}
		plain, args = append(plain, rest[0]), rest[1:]
	}
}

func (cmd command) line() string { return strings.TrimSpace(cmd.name + " " + cmd.usage) }

func printCommands(w io.Writer) {
	fmt.Fprint(w, "letterbox takes mail in by SMTP, keeps it, and hands it out by POP3.\n\n")
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, cmd := range commands() {
		fmt.Fprintf(tw, "  letterbox %s\t%s\n", cmd.line(), cmd.text)
	}
	tw.Flush()
	fmt.Fprint(w, "\n`letterbox help COMMAND` says more. To try it: letterbox serve --account me@localhost\n")
}

func (cmd command) printHelp(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "letterbox %s\n    %s\n", cmd.line(), cmd.text)
	if cmd.more != "" {
		fmt.Fprintf(w, "\n%s\n", cmd.more)
	}
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nFlags:\n")
			first = false
		}
		placeholder, text := flag.UnquoteUsage(f)
		text = strings.TrimSuffix(text, " ("+placeholder+")")
		fmt.Fprintf(w, "  --%s\n        %s\n", strings.TrimSpace(f.Name+" "+placeholder), text)
	})
}

func help(*flag.FlagSet) action {
	return func(_ context.Context, c *call) error {
		if len(c.args) == 0 {
			printCommands(c.stdout)
			return nil
		}
		cmd, rest, err := find(c.args)
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			return usagef("unknown command %q", strings.Join(c.args, " "))
		}
		fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
		if cmd.keys != nil {
			config.Register(fs, cmd.keys)
		}
		cmd.setup(fs)
		cmd.printHelp(c.stdout, fs)
		return nil
	}
}
