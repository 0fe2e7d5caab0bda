package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
)

// backupTime bounds how long a backup may take to be written.
const backupTime = 24 * time.Hour

func keepCommands() []command {
	return []command{{
		name: "user quota", usage: "ADDRESS SIZE", text: "bound what waits for an account: a size, none or default",
		min: 2, max: 2, keys: storeKeys, setup: userQuota,
	}, {
		name: "undelete", usage: "ADDRESS", text: "file mail again that was deleted and can still be had back", min: 1, max: 1,
		keys: storeKeys, setup: undelete,
	}, {
		name: "backup", usage: "FILE", text: "write all that waits, and who gets mail, to a new file, or with - to the output", min: 1, max: 1,
		keys: storeKeys, setup: backup,
	}, {
		name: "restore", usage: "FILE", text: "make a store of a backup, in an empty data folder; with - from the input", min: 1, max: 1,
		keys: storeKeys, setup: restore,
	}}
}

func userQuota(fs *flag.FlagSet) action {
	messages := fs.Int64("messages", 0, "a bound in messages, too; 0 for none")
	return func(ctx context.Context, c *call) error {
		address, err := account(c.args[0])
		if err != nil {
			return err
		}
		edit := store.Edit{Op: store.SetQuota, Address: address}
		switch text := c.args[1]; {
		case text == "default" && *messages != 0:
			return usagef("--messages goes with a size or none: default is what the configuration says of both")
		case text == "default":
		case text == "none":
			edit.Quota = &store.Quota{Messages: *messages}
		default:
			octets, err := config.ParseSize(text)
			if err != nil || octets == 0 {
				return usagef("%q is no quota: write a size as 500MiB, none or default", text)
			}
			edit.Quota = &store.Quota{Octets: octets, Messages: *messages}
		}
		return c.apply(ctx, edit)
	}
}

func undelete(fs *flag.FlagSet) action {
	since := fs.String("since", "", "only what was deleted within this time, as `1h` or 2d; without it all that can be had back")
	return func(ctx context.Context, c *call) error {
		address, err := account(c.args[0])
		if err != nil {
			return err
		}
		var from time.Time
		if *since != "" {
			d, err := config.ParseDuration(*since)
			if err != nil {
				return usagef("--since %s", err)
			}
			from = time.Now().Add(-d)
		}
		return c.admin(ctx, backupTime, func(ctx context.Context, admin store.Admin) error {
			p := newProgress(c)
			n, err := admin.Undelete(p.of(ctx, func(done, total int64) string {
				return fmt.Sprintf("%d of %d messages", done, total)
			}), address, from)
			p.end()
			if err == nil || n > 0 {
				fmt.Fprintf(c.stdout, "%d messages of %s are back\n", n, address)
			}
			return err
		})
	}
}

func backup(fs *flag.FlagSet) action {
	asJSON := jsonFlag(fs)
	return func(ctx context.Context, c *call) error {
		if c.args[0] == "-" {
			return c.admin(ctx, backupTime, func(ctx context.Context, admin store.Admin) error {
				report, err := admin.Backup(ctx, c.stdout)
				return errors.Join(err, leftOut(c, report))
			})
		}
		cfg, err := c.config()
		if err != nil {
			return err
		}
		// The file is whoever's who types this, though the store is its owner's: that one may not be able to write there.
		out, err := app.NewBackupFile(c.args[0])
		if err != nil {
			return err
		}
		report, err := c.backUp(ctx, cfg, out)
		if err := out.Finish(ctx, report, err); err != nil {
			return cantWrite(c.args[0], err)
		}
		lacks := leftOut(c, report)
		if *asJSON {
			return errors.Join(term.JSON(c.stdout, report), lacks)
		}
		_, err = fmt.Fprintf(c.stdout, "%d messages, %d entries, %s, written and read back\n", report.Messages, report.Entries, term.Octets(report.Octets))
		return errors.Join(err, lacks)
	}
}

// cantWrite names the file that could not be written in place of the one that is written in its stead, and of the system's call.
func cantWrite(name string, err error) error {
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) && strings.HasPrefix(failed.Path, name) {
		return fmt.Errorf("can't write %s: %w", name, failed.Err)
	}
	return err
}

// leftOut says which messages a backup has not, and is an error where there are some.
func leftOut(c *call, r store.BackupReport) error {
	if r.LeftOut == nil {
		return nil
	}
	for _, f := range r.LeftOut.Findings {
		if _, err := fmt.Fprintln(c.stderr, term.Printable(f.Text)); err != nil {
			return err
		}
	}
	return fmt.Errorf("not in this backup, since they can't be read: %d messages; the backup is whole but for them: see letterbox verify, and keep an older backup that has them",
		r.LeftOut.Messages)
}

// backUp writes a backup as the owner of the store, and comes back as whoever it was.
func (c *call) backUp(ctx context.Context, cfg *config.Config, out io.Writer) (report store.BackupReport, err error) {
	back, err := app.BorrowOwner(cfg.Data)
	if err != nil {
		return report, err
	}
	shown := &octets{progress: newProgress(c), what: "written", w: out}
	err = c.admin(ctx, backupTime, func(ctx context.Context, admin store.Admin) error {
		report, err = admin.Backup(ctx, shown)
		return err
	})
	shown.end()
	return report, errors.Join(err, back())
}

func restore(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		in, name := c.stdin, "what came in"
		if c.args[0] != "-" {
			name = c.args[0]
			file, err := os.Open(name)
			if err != nil {
				return usagef("can't read %s: %v", name, errors.Unwrap(err))
			}
			defer file.Close()
			in = file
		}
		cfg, err := c.config()
		if err != nil {
			return err
		}
		shown := &octets{progress: newProgress(c), what: "read", r: in}
		report, err := app.Restore(ctx, cfg, name, shown)
		shown.end()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "%d messages, %d entries restored to %s\n", report.Messages, report.Entries, cfg.Data)
		return err
	}
}
