package main

import (
	"context"
	"errors"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/store"
)

// adminTime bounds what one command asks of the store.
const adminTime = time.Minute

// admin calls use with the facts of the store, wherever they are to be had.
func (c *call) admin(ctx context.Context, bound time.Duration, use func(context.Context, store.Admin) error) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	admin, done, err := app.OpenAdmin(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(use(ctx, admin), done())
}

// apply makes one edit.
func (c *call) apply(ctx context.Context, edit store.Edit) error {
	return c.admin(ctx, adminTime, func(ctx context.Context, admin store.Admin) error {
		_, err := admin.Apply(ctx, 0, []store.Edit{edit})
		return err
	})
}

// edit returns an action that makes op for the address in the first argument.
func edit(op store.Op) action {
	return func(ctx context.Context, c *call) error {
		address, err := account(c.args[0])
		if err != nil {
			return err
		}
		return c.apply(ctx, store.Edit{Op: op, Address: address})
	}
}

// account returns the canonical form of an address that an account may have.
func account(s string) (string, error) {
	a, err := store.AccountAddress(s)
	if err != nil {
		return "", usagef("%q %s", s, err)
	}
	return a.String(), nil
}
