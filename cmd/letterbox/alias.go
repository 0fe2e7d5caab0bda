package main

import (
	"context"
	"flag"
	"strings"

	"example.org/letterbox/store"
)

func aliasCommands() []command {
	return []command{{
		name: "alias add", usage: "ADDRESS TARGET...", text: "send mail for ADDRESS to accounts; @a.example @b.example for a whole domain",
		min: 2, max: -1, keys: storeKeys, setup: func(*flag.FlagSet) action { return aliasAdd },
	}, {
		name: "alias list", text: "list aliases and their targets", keys: storeKeys, setup: aliasList,
	}, {
		name: "alias remove", usage: "ADDRESS", text: "remove an alias", min: 1, max: 1,
		keys: storeKeys, setup: func(*flag.FlagSet) action { return aliasRemove },
	}}
}

func aliasAdd(ctx context.Context, c *call) error {
	names := make([]string, len(c.args))
	for i, arg := range c.args {
		name, err := aliasName(arg)
		if err != nil {
			return err
		}
		names[i] = name
	}
	return c.apply(ctx, store.Edit{Op: store.AddAlias, Address: names[0], Targets: names[1:]})
}

func aliasRemove(ctx context.Context, c *call) error {
	name, err := aliasName(c.args[0])
	if err != nil {
		return err
	}
	return c.apply(ctx, store.Edit{Op: store.RemoveAlias, Address: name})
}

// aliasName returns the canonical form of an address or of a whole domain, which is written @domain.
func aliasName(s string) (string, error) {
	domain, whole := strings.CutPrefix(s, "@")
	if !whole {
		return account(s)
	}
	d, err := store.ParseDomain(domain)
	if err != nil {
		return "", usagef("%q %s", s, err)
	}
	return "@" + d, nil
}

func aliasList(fs *flag.FlagSet) action {
	return list(fs, func(d store.Directory) listing {
		l := listing{data: orEmpty(d.Aliases), header: []string{"ADDRESS", "TARGETS"}}
		for _, a := range d.Aliases {
			l.rows = append(l.rows, []string{a.Address, strings.Join(a.Targets, " ")})
		}
		return l
	})
}
