package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// healthTime bounds the answer: container engines kill a check that hangs, and then say less.
const healthTime = 8 * time.Second

func healthCommands() []command {
	return []command{{
		name: "health", text: "ask the running letterbox whether it is ready; exit 1 and the reason if not", keys: storeKeys, setup: health,
	}}
}

func health(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, healthTime)
		defer cancel()
		if err := probe.Health(ctx, app.HealthSocket(cfg.Data)); err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
		_, err = fmt.Fprintln(c.stdout, "ready")
		return err
	}
}
