package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/app"
)

// canaryTime bounds a round by hand: one that is under way is waited for.
const canaryTime = 90 * time.Second

func canaryCommands() []command {
	return []command{{
		name: "canary", text: "send a message the whole way through what runs; exit 1 and why if it fails",
		keys: storeKeys, setup: canary,
	}}
}

func canary(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, canaryTime)
		defer cancel()
		round, err := app.Canary(ctx, cfg)
		switch {
		case err != nil:
			return fmt.Errorf("no round of the canary: %w", err)
		case round.Step != "":
			return fmt.Errorf("mail does not flow: the step %s failed: %s", round.Step, round.Text)
		}
		_, err = fmt.Fprintf(c.stdout, "%s within %s\n", round.Text, round.Took.Round(time.Millisecond))
		return err
	}
}
