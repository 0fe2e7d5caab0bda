package main

import (
	"context"
	"flag"
	"strings"

	"example.org/letterbox/store"
)

func catchallCommands() []command {
	return []command{{
		name: "catchall set", usage: "DOMAIN ADDRESS", text: "send mail for every unknown address of DOMAIN to ADDRESS", min: 2, max: 2,
		keys: storeKeys, setup: func(*flag.FlagSet) action { return catchallSet },
	}, {
		name: "catchall list", text: "list catch-alls", keys: storeKeys, setup: catchallList,
	}, {
		name: "catchall clear", usage: "DOMAIN", text: "refuse unknown addresses of DOMAIN again", min: 1, max: 1,
		keys: storeKeys, setup: func(*flag.FlagSet) action { return catchallClear },
	}}
}

func catchallSet(ctx context.Context, c *call) error {
	domain, err := domainName(c.args[0])
	if err != nil {
		return err
	}
	target, err := account(c.args[1])
	if err != nil {
		return err
	}
	return c.apply(ctx, store.Edit{Op: store.SetCatchAll, Address: domain, Targets: []string{target}})
}

func catchallClear(ctx context.Context, c *call) error {
	domain, err := domainName(c.args[0])
	if err != nil {
		return err
	}
	return c.apply(ctx, store.Edit{Op: store.ClearCatchAll, Address: domain})
}

// domainName returns the canonical form of a domain, which may be written with the @ that an alias has.
func domainName(s string) (string, error) {
	d, err := store.ParseDomain(strings.TrimPrefix(s, "@"))
	if err != nil {
		return "", usagef("%q %s", s, err)
	}
	return d, nil
}

func catchallList(fs *flag.FlagSet) action {
	return list(fs, func(d store.Directory) listing {
		l := listing{data: orEmpty(d.CatchAlls), header: []string{"DOMAIN", "TARGET"}}
		for _, ca := range d.CatchAlls {
			l.rows = append(l.rows, []string{ca.Domain, ca.Target})
		}
		return l
	})
}
