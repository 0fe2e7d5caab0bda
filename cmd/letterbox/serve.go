package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/cmd/letterbox/internal/config"
)

func serveCommands() []command {
	role := func(r app.Role, text string) command {
		return command{name: string(r), usage: "[flags]", text: text, keys: r.Uses, setup: func(*flag.FlagSet) action {
			return func(ctx context.Context, c *call) error { return runRole(ctx, c, r) }
		}}
	}
	return []command{{
		name: "serve", usage: "[flags]", text: "run both daemons, the store and the metrics; with --split as three processes",
		keys: allKeys, setup: serve,
	},
		role(app.Store, "run the store's process, which smtpd and pop3d reach by its sockets"),
		role(app.SMTPD, "run the receiver's process, which holds no file of the store"),
		role(app.POP3D, "run the POP3 daemon's process, which holds no file of the store"),
	}
}

func serve(fs *flag.FlagSet) action {
	split := fs.Bool("split", false, "run store, smtpd and pop3d as three processes, and start again what ends")
	runAs := fs.String("run-as", "", "become this user once all sockets are open; wants root and --split (`USER[:GROUP]`)")
	return func(ctx context.Context, c *call) error {
		switch {
		case *split:
			return serveSplit(ctx, c, *runAs)
		case *runAs != "":
			return usagef("--run-as wants --split: without it letterbox takes on the owner of the data folder")
		}
		return runRole(ctx, c, app.Serve)
	}
}

// runRole runs one role in this process.
func runRole(ctx context.Context, c *call, role app.Role) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if err := app.BecomeOwner(cfg.Data); err != nil {
		return err
	}
	o, done := c.options(cfg, role)
	defer done()
	return app.Run(ctx, o)
}

// serveSplit runs the three roles as processes of this same binary.
func serveSplit(ctx context.Context, c *call, runAs string) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	o, done := c.options(cfg, app.Serve)
	defer done()
	return app.RunSplit(ctx, app.SplitOptions{
		Options: o, Program: program, Environ: c.environ, RunAs: runAs,
		Args: func(r app.Role) []string { return append(c.flags.Args(r.Uses), metricsArgs(cfg, r)...) },
	})
}

// metricsArgs tells a daemon where its metrics are when that follows from a flag which only the store's process has.
func metricsArgs(cfg *config.Config, role app.Role) []string {
	name := "metrics." + string(role)
	if cfg.Source(name) != config.SourceDefault || !strings.HasPrefix(cfg.Source("metrics.listen"), "--") {
		return nil
	}
	var args []string
	for _, value := range cfg.Value(name) {
		args = append(args, "--metrics-"+string(role)+"="+value)
	}
	return args
}

// options are those of every process; done gives the signals back.
func (c *call) options(cfg *config.Config, role app.Role) (o app.Options, done func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	return app.Options{
		Role: role, Config: cfg, Version: version(),
		Reload: func() (*config.Config, error) { return config.Load(c.flags, c.environ) },
		Hangup: hangup,
		Log:    c.stderr, Format: app.LogFormat(cfg.Log.Format, c.stderr, variable(c.environ, "JOURNAL_STREAM")),
		Out: c.stdout,
	}, func() { signal.Stop(hangup) }
}

// variable returns the value of an environment variable, empty where it is not set.
func variable(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
