package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// healthTime bounds the answer: container engines kill a check that hangs, and then say less.
const healthTime = 8 * time.Second

func healthCommands() []command {
	return []command{{
		name: "health", usage: "[ROLE]", text: "ask what runs, or one role, whether it is ready; exit 1 and why if not",
		max: 1, keys: storeKeys, setup: health,
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
		ask := whole
		if len(c.args) == 1 {
			role := app.Role(c.args[0])
			if role != app.Serve && !slices.Contains(app.Split(), role) {
				return usagef("there is no role %q: ask for serve, store, smtpd or pop3d", c.args[0])
			}
			ask = func(ctx context.Context, run string) error { return probe.Health(ctx, app.HealthSocket(run, role)) }
		}
		for _, run := range app.Folders(cfg) {
			if err = ask(ctx, run); !errors.Is(err, probe.ErrNotRunning) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
		_, err = fmt.Fprintln(c.stdout, "ready")
		return err
	}
}

// whole asks whatever runs here: the one process that holds all, else the three. Where nobody runs at all it says so of the
// one.
func whole(ctx context.Context, run string) error {
	one := probe.Health(ctx, app.HealthSocket(run, app.Serve))
	if !errors.Is(one, probe.ErrNotRunning) {
		return one
	}
	var errs []error
	away := 0
	for _, role := range app.Split() {
		err := probe.Health(ctx, app.HealthSocket(run, role))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", role, err))
		}
		if errors.Is(err, probe.ErrNotRunning) {
			away++
		}
	}
	if away == len(app.Split()) {
		return one
	}
	return oneLine(errs)
}

// oneLine joins errors into one sentence; nil of none.
func oneLine(errs []error) error {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	if texts == nil {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}
