package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
)

// verifyTime bounds how long the whole store may take to be read: a terabyte from a slow disk.
const verifyTime = 24 * time.Hour

func inspectCommands() []command {
	return []command{{
		name: "stats", text: "print what the store counts", keys: storeKeys, setup: stats,
	}, {
		name: "verify", text: "read the whole store and say what is damaged; exit 1 if anything is", keys: storeKeys, setup: verify,
	}}
}

func stats(fs *flag.FlagSet) action {
	asJSON := jsonFlag(fs)
	return func(ctx context.Context, c *call) error {
		return c.admin(ctx, adminTime, func(ctx context.Context, admin store.Admin) error {
			s, err := admin.Figures(ctx)
			if err != nil {
				return err
			}
			if *asJSON {
				return term.JSON(c.stdout, s)
			}
			size := term.Octets
			return term.Table(c.stdout, []string{"WHAT", "VALUE"}, [][]string{
				{"messages waiting", strconv.FormatInt(s.Messages, 10)},
				{"their size", size(s.Octets)},
				{"delivered, ever", strconv.FormatUint(s.Delivered, 10)},
				{"deleted, ever", strconv.FormatUint(s.Deleted, 10)},
				{"accounts", fmt.Sprintf("%d, %d of them disabled", s.Accounts, s.Disabled)},
				{"aliases, catch-alls", fmt.Sprintf("%d, %d", s.Aliases, s.CatchAlls)},
				{"log on disk", fmt.Sprintf("%s in %d files", size(s.LogBytes), s.Segments)},
				{"large bodies on disk", size(s.BodyBytes)},
				{"index on disk", size(s.IndexBytes)},
				{"history on disk", size(s.HistoryBytes)},
				{"free on this disk", size(s.FreeBytes)},
				{"maildrops open now", strconv.Itoa(s.OpenMaildrops)},
			})
		})
	}
}

func verify(fs *flag.FlagSet) action {
	asJSON := jsonFlag(fs)
	repair := fs.Bool("repair", false, "rebuild the index from the log, and leave out of the log what can't be read; letterbox must not run")
	return func(ctx context.Context, c *call) error {
		var lost store.Verification
		if *repair {
			if err := c.repair(ctx, &lost); err != nil {
				return err
			}
		}
		return c.admin(ctx, verifyTime, func(ctx context.Context, admin store.Admin) error {
			v, err := admin.Verify(ctx)
			if err != nil {
				return err
			}
			if *asJSON {
				err = term.JSON(c.stdout, struct {
					store.Verification
					Lost []store.Finding `json:"lost"`
				}{withFindings(v), orEmpty(lost.Findings)})
			} else {
				err = printVerification(c, v)
			}
			if v.Damage > 0 {
				err = errors.Join(err, fmt.Errorf("damaged: %d; what is whole is served, and `letterbox verify --repair` mends the index and the log", v.Damage))
			}
			return err
		})
	}
}

// repair mends the store in the data folder and prints each loss.
func (c *call) repair(ctx context.Context, lost *store.Verification) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	err = app.Repair(ctx, cfg, func(f store.Finding) {
		lost.Add(f)
		fmt.Fprintln(c.stderr, "lost:", term.Printable(f.Text))
	})
	if err == nil && lost.Damage == 0 {
		fmt.Fprintln(c.stderr, "nothing was lost; the index is made anew")
	}
	return err
}

func withFindings(v store.Verification) store.Verification {
	v.Findings = orEmpty(v.Findings)
	return v
}

func printVerification(c *call, v store.Verification) error {
	for _, f := range v.Findings {
		fmt.Fprintln(c.stdout, term.Printable(f.Text))
	}
	_, err := fmt.Fprintf(c.stdout, "%d records, %d messages, %d entries, %s of bodies: %d damaged\n",
		v.Records, v.Messages, v.Entries, term.Octets(v.Octets), v.Damage)
	return err
}
