package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
)

func userCommands() []command {
	return []command{{
		name: "user add", usage: "ADDRESS", text: "make an account and its maildrop", min: 1, max: 1,
		keys: storeKeys, setup: withPassword(store.AddAccount),
	}, {
		name: "user list", text: "list accounts, the mail that waits in them, and who fetched last", keys: storeKeys, setup: userList,
	}, {
		name: "user passwd", usage: "ADDRESS", text: "set an account's password", min: 1, max: 1,
		keys: storeKeys, setup: withPassword(store.SetPassword),
	}, {
		name: "user disable", usage: "ADDRESS", text: "refuse an account's mail and logins; what waits is kept", min: 1, max: 1,
		keys: storeKeys, setup: func(*flag.FlagSet) action { return edit(store.DisableAccount) },
	}, {
		name: "user enable", usage: "ADDRESS", text: "undo disable", min: 1, max: 1,
		keys: storeKeys, setup: func(*flag.FlagSet) action { return edit(store.EnableAccount) },
	}, {
		name: "user remove", usage: "ADDRESS", text: "remove an account that has no mail waiting", min: 1, max: 1,
		keys: storeKeys, setup: userRemove,
	}}
}

// withPassword returns the set-up of a command that gives an account a password.
func withPassword(op store.Op) func(*flag.FlagSet) action {
	return func(fs *flag.FlagSet) action {
		source := passwordFlags(fs)
		return func(ctx context.Context, c *call) error {
			address, err := account(c.args[0])
			if err != nil {
				return err
			}
			if err := source.check(c); err != nil {
				return err
			}
			// The store is not opened before the password is there: while files are open no daemon can start.
			edit, generated, err := source.edit(ctx, c, address)
			if err != nil {
				return err
			}
			edit.Op = op
			if err := c.setPassword(ctx, edit); err != nil {
				return err
			}
			if generated != "" {
				_, err = fmt.Fprintln(c.stdout, generated)
			}
			return err
		}
	}
}

// setPassword makes the edit, and says when a new account takes the short name from another.
func (c *call) setPassword(ctx context.Context, edit store.Edit) error {
	return c.admin(ctx, adminTime, func(ctx context.Context, admin store.Admin) error {
		if _, err := admin.Apply(ctx, 0, []store.Edit{edit}); err != nil || edit.Op != store.AddAccount {
			return err
		}
		d, err := admin.Directory(ctx)
		if others := sharers(d, edit.Address); len(others) > 0 {
			fmt.Fprintf(c.stderr, "letterbox: %s and %s have the same name before the @: each logs in by the whole address\n",
				edit.Address, strings.Join(others, ", "))
		}
		return err
	})
}

func userRemove(fs *flag.FlagSet) action {
	discard := fs.Bool("discard-mail", false, "delete the mail that waits there, for ever")
	return func(ctx context.Context, c *call) error {
		address, err := account(c.args[0])
		if err != nil {
			return err
		}
		return c.admin(ctx, adminTime, func(ctx context.Context, admin store.Admin) error {
			edit := store.Edit{Op: store.RemoveAccount, Address: address, DiscardMail: *discard}
			if _, err := admin.Apply(ctx, 0, []store.Edit{edit}); err != nil {
				return err
			}
			d, err := admin.Directory(ctx)
			for _, name := range pointing(d, address) {
				fmt.Fprintf(c.stderr, "letterbox: mail for %s is put off from now on: %s was a target of it\n", name, address)
			}
			return err
		})
	}
}

// pointing lists the aliases and catch-alls that have target as a target.
func pointing(d store.Directory, target string) []string {
	var names []string
	for _, a := range d.Aliases {
		if slices.Contains(a.Targets, target) {
			names = append(names, a.Address)
		}
	}
	for _, a := range d.CatchAlls {
		if a.Target == target {
			names = append(names, "every other address of "+a.Domain)
		}
	}
	return names
}

func userList(fs *flag.FlagSet) action {
	return list(fs, func(d store.Directory) listing {
		l := listing{data: orEmpty(d.Accounts), header: []string{"ADDRESS", "STATE", "MESSAGES", "SIZE", "CREATED", "LAST FETCH", "CLIENT"}}
		for _, a := range d.Accounts {
			state := "enabled"
			if a.Disabled {
				state = "disabled"
			}
			l.rows = append(l.rows, []string{
				a.Address, state, strconv.FormatInt(a.Messages, 10), term.Octets(a.Octets), a.Created.Local().Format("2006-01-02"),
				lastFetch(a.LastFetch), client(a.LastFetch),
			})
		}
		return l
	})
}

func lastFetch(f *store.Fetch) string {
	if f == nil {
		return "never"
	}
	return f.At.Local().Format(time.DateTime)
}

// client says what is known of who fetched: where from, and how it logged in.
func client(f *store.Fetch) string {
	if f == nil {
		return "-"
	}
	from, how := "local", f.Mechanism
	if f.Peer.IsValid() {
		from = f.Peer.String()
	}
	if f.TLS {
		how += " TLS"
	}
	if f.App != "" {
		how += " " + strconv.Quote(f.App)
	}
	return from + " " + how
}

// listing is one list in both forms.
type listing struct {
	data   any // for --json
	header []string
	rows   [][]string
}

// list returns the action of a command that prints part of the directory.
func list(fs *flag.FlagSet, pick func(store.Directory) listing) action {
	asJSON := jsonFlag(fs)
	return func(ctx context.Context, c *call) error {
		return c.admin(ctx, adminTime, func(ctx context.Context, admin store.Admin) error {
			directory, err := admin.Directory(ctx)
			if err != nil {
				return err
			}
			l := pick(directory)
			if *asJSON {
				return term.JSON(c.stdout, l.data)
			}
			return term.Table(c.stdout, l.header, l.rows)
		})
	}
}

func jsonFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("json", false, "print JSON; later versions only add fields")
}

// orEmpty makes an empty list of nil, so that it is [] in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
