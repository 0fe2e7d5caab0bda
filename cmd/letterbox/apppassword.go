package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

func appPasswordCommands() []command {
	return []command{{
		name: "user app-password add", usage: "ADDRESS NAME", text: "make a password for one program, and print it, this once",
		min: 2, max: 2, keys: storeKeys, setup: func(*flag.FlagSet) action { return addAppPassword },
	}, {
		name: "user app-password list", usage: "ADDRESS", text: "list an account's app passwords and when they were last used",
		min: 1, max: 1, keys: storeKeys, setup: listAppPasswords,
	}, {
		name: "user app-password remove", usage: "ADDRESS NAME", text: "take one away; the sessions that it opened end",
		min: 2, max: 2, keys: storeKeys, setup: func(*flag.FlagSet) action { return removeAppPassword },
	}}
}

func addAppPassword(ctx context.Context, c *call) error {
	address, err := account(c.args[0])
	if err != nil {
		return err
	}
	password := secret.Generate()
	edit := store.Edit{Op: store.AddAppPassword, Address: address, Name: c.args[1], Hash: secret.AppHash(password)}
	if err := c.apply(ctx, edit); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, password)
	return err
}

func removeAppPassword(ctx context.Context, c *call) error {
	address, err := account(c.args[0])
	if err != nil {
		return err
	}
	return c.apply(ctx, store.Edit{Op: store.RemoveAppPassword, Address: address, Name: c.args[1]})
}

func listAppPasswords(fs *flag.FlagSet) action {
	asJSON := jsonFlag(fs)
	return func(ctx context.Context, c *call) error {
		address, err := account(c.args[0])
		if err != nil {
			return err
		}
		return c.admin(ctx, adminTime, func(ctx context.Context, admin store.Admin) error {
			d, err := admin.Directory(ctx)
			if err != nil {
				return err
			}
			for _, a := range d.Accounts {
				if a.Address == address {
					return c.printAppPasswords(a.AppPasswords, *asJSON)
				}
			}
			return fmt.Errorf("%s is no account: see letterbox user list", address)
		})
	}
}

func (c *call) printAppPasswords(passwords []store.AppPassword, asJSON bool) error {
	if asJSON {
		return term.JSON(c.stdout, orEmpty(passwords))
	}
	var rows [][]string
	for _, p := range passwords {
		used := "never"
		if !p.LastUsed.IsZero() {
			used = p.LastUsed.Local().Format(time.DateTime)
		}
		rows = append(rows, []string{p.Name, p.Created.Local().Format(time.DateOnly), used})
	}
	return term.Table(c.stdout, []string{"NAME", "CREATED", "LAST USED"}, rows)
}

// sharers lists the other accounts with the local part of address: none of them can log in by that alone.
func sharers(d store.Directory, address string) []string {
	local := address[:strings.LastIndexByte(address, '@')+1]
	var names []string
	for _, a := range d.Accounts {
		if strings.HasPrefix(a.Address, local) && a.Address != address {
			names = append(names, a.Address)
		}
	}
	return names
}
