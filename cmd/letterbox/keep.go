package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
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
			n, err := admin.Undelete(ctx, address, from)
			fmt.Fprintf(c.stdout, "%d messages of %s are back\n", n, address)
			return err
		})
	}
}

func backup(fs *flag.FlagSet) action {
	asJSON := jsonFlag(fs)
	return func(ctx context.Context, c *call) error {
		if c.args[0] == "-" {
			return c.admin(ctx, backupTime, func(ctx context.Context, admin store.Admin) error {
				_, err := admin.Backup(ctx, c.stdout)
				return err
			})
		}
		// Opened before the process takes on the owner of the data folder, who may not write here.
		out, err := newBackup(c.args[0])
		if err != nil {
			return err
		}
		var report store.BackupReport
		err = c.admin(ctx, backupTime, func(ctx context.Context, admin store.Admin) error {
			report, err = admin.Backup(ctx, out.file)
			return err
		})
		if err := out.finish(ctx, report, err); err != nil {
			return err
		}
		if *asJSON {
			return term.JSON(c.stdout, report)
		}
		_, err = fmt.Fprintf(c.stdout, "%d messages, %d entries, %s, written and read back\n", report.Messages, report.Entries, term.Octets(report.Octets))
		return err
	}
}

// backupFile is a backup on its way: it has its name only when it is whole.
type backupFile struct {
	file   *os.File
	folder *os.File // so that the name can be given whoever this process is by then
	name   string
}

const unfinished = ".unfinished"

// newBackup opens a file that is not there yet.
func newBackup(name string) (*backupFile, error) {
	if _, err := os.Lstat(name); err == nil {
		return nil, usagef("%s is there already: name a new file, or remove that one", name)
	}
	folder, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil, usagef("can't write %s: %v", name, errors.Unwrap(err))
	}
	file, err := os.OpenFile(name+unfinished, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, errors.Join(usagef("can't write %s: %v", name, errors.Unwrap(err)), folder.Close())
	}
	return &backupFile{file, folder, name}, nil
}

// finish reads the backup back, makes it durable and gives it its name.
func (b *backupFile) finish(ctx context.Context, want store.BackupReport, err error) error {
	if err == nil {
		_, err = b.file.Seek(0, io.SeekStart)
	}
	if err == nil {
		var got store.BackupReport
		if got, err = boltstore.CheckBackup(ctx, b.file); err == nil && got != want {
			err = fmt.Errorf("%s does not hold what was written to it", b.name)
		}
	}
	if err == nil {
		err = b.file.Sync()
	}
	err = errors.Join(err, b.file.Close())
	if err == nil {
		err = os.Rename(b.name+unfinished, b.name)
	}
	if err == nil {
		err = b.folder.Sync()
	}
	err = errors.Join(err, b.folder.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(b.name+unfinished))
	}
	return err
}

func restore(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		in := c.stdin
		if c.args[0] != "-" {
			file, err := os.Open(c.args[0])
			if err != nil {
				return usagef("can't read %s: %v", c.args[0], errors.Unwrap(err))
			}
			defer file.Close()
			in = file
		}
		cfg, err := c.config()
		if err != nil {
			return err
		}
		report, err := app.Restore(ctx, cfg, in)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "%d messages, %d entries restored to %s\n", report.Messages, report.Entries, cfg.Data)
		return err
	}
}
