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
	return []command{{
		name: "serve", usage: "[flags]", text: "run both daemons, the store and the metrics in one process",
		keys: allKeys, setup: serve,
	}}
}

func serve(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		if err := app.BecomeOwner(cfg.Data); err != nil {
			return err
		}
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		return app.Serve(ctx, app.Options{
			Config: cfg, Version: version(),
			Reload: func() (*config.Config, error) { return config.Load(c.flags, c.environ) },
			Hangup: hangup,
			Log:    c.stderr, Format: app.LogFormat(cfg.Log.Format, c.stderr, variable(c.environ, "JOURNAL_STREAM")),
			Out: c.stdout,
		})
	}
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
