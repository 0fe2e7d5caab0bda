package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
)

// verifyTime bounds how long the whole store may take to be read: a terabyte from a slow disk.
const verifyTime = 24 * time.Hour

func inspectCommands() []command {
	return []command{{
		name: "stats", text: "print what the store counts, in all and for each account", keys: storeKeys, setup: stats,
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
			d, err := admin.Directory(ctx)
			if err != nil {
				return err
			}
			if *asJSON {
				return term.JSON(c.stdout, struct {
					store.Stats
					PerAccount []store.Account `json:"per_account"`
				}{s, orEmpty(d.Accounts)})
			}
			size := term.Octets
			err = term.Table(c.stdout, []string{"WHAT", "VALUE"}, [][]string{
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
			if err == nil && len(d.Accounts) > 0 {
				fmt.Fprintln(c.stdout)
				err = printFigures(c, d.Accounts)
			}
			return err
		})
	}
}

// printFigures prints what the store counts for each account.
func printFigures(c *call, accounts []store.Account) error {
	var rows [][]string
	for _, a := range accounts {
		quota := "default"
		if q := a.Quota; q != nil {
			quota = quotaText(*q)
		}
		rows = append(rows, []string{
			a.Address, strconv.FormatInt(a.Messages, 10), term.Octets(a.Octets), quota,
			strconv.FormatInt(a.Undeletable, 10), term.Octets(a.UndeletableOctets), lastFetch(a.LastFetch),
		})
	}
	return term.Table(c.stdout, []string{"ACCOUNT", "WAITING", "SIZE", "QUOTA", "CAN BE HAD BACK", "SIZE", "LAST FETCH"}, rows)
}

func quotaText(q store.Quota) string {
	var parts []string
	if q.Octets > 0 {
		parts = append(parts, term.Octets(q.Octets))
	}
	if q.Messages > 0 {
		parts = append(parts, fmt.Sprintf("%d messages", q.Messages))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
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
			p := newProgress(c)
			v, err := admin.Verify(p.of(ctx, octetsRead))
			p.end()
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

func octetsRead(done, total int64) string {
	return fmt.Sprintf("%s of %s read", term.Octets(done), term.Octets(total))
}

// repair mends the store in the data folder and prints each loss.
func (c *call) repair(ctx context.Context, lost *store.Verification) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	p := newProgress(c)
	err = app.Repair(p.of(ctx, octetsRead), cfg, func(f store.Finding) {
		p.end()
		lost.Add(f)
		fmt.Fprintln(c.stderr, "lost:", term.Printable(f.Text))
	})
	p.end()
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
