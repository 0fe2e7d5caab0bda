package main

import (
	"context"
	"flag"
	"strconv"
	"time"

	"example.org/letterbox/store"
)

func blockCommands() []command {
	return []command{{
		name: "block add", usage: "[SENDER]", text: "refuse mail from an address, a domain or a network, or with --rcpt to one address", max: 1,
		keys: storeKeys, setup: blockEdit(store.AddBlock),
	}, {
		name: "block list", text: "list blocks, how often each refused and when last", keys: storeKeys, setup: blockList,
	}, {
		name: "block remove", usage: "[SENDER]", text: "take mail again that a block refuses", max: 1,
		keys: storeKeys, setup: blockEdit(store.RemoveBlock),
	}}
}

// blockEdit returns the set-up of a command that adds or removes a block.
func blockEdit(op store.Op) func(*flag.FlagSet) action {
	return func(fs *flag.FlagSet) action {
		to := fs.String("to", "", "the block is for mail to this `ADDRESS` of ours alone")
		rcpt := fs.String("rcpt", "", "the block is for this `ADDRESS` of ours, whoever sends: one that leaked, of a catch-all")
		return func(ctx context.Context, c *call) error {
			edit := store.Edit{Op: op}
			recipient := *to
			switch {
			case len(c.args) == 0 && *rcpt == "":
				return usagef("block whom? Name an address, a domain or a network, or say --rcpt ADDRESS; see `letterbox help %s`", verbOf(op))
			case len(c.args) > 0 && *rcpt != "":
				return usagef("--rcpt is for every sender; to block %s for one address say --to %s", c.args[0], *rcpt)
			case *rcpt != "" && *to != "":
				return usagef("--rcpt and --to can't stand together")
			case *rcpt != "":
				recipient = *rcpt
			default:
				edit.Address = c.args[0]
			}
			if recipient != "" {
				edit.Targets = []string{recipient}
			}
			return c.apply(ctx, edit)
		}
	}
}

func verbOf(op store.Op) string {
	if op == store.RemoveBlock {
		return "block remove"
	}
	return "block add"
}

func blockList(fs *flag.FlagSet) action {
	return list(fs, func(d store.Directory) listing {
		l := listing{data: orEmpty(d.Blocks), header: []string{"SENDER", "RECIPIENT", "REFUSED", "LAST", "SINCE"}}
		for _, b := range d.Blocks {
			last := "never"
			if !b.LastUsed.IsZero() {
				last = b.LastUsed.Local().Format(time.DateTime)
			}
			l.rows = append(l.rows, []string{
				orAny(b.Sender), orAny(b.Recipient), strconv.FormatUint(b.Refused, 10), last, b.Created.Local().Format(time.DateOnly),
			})
		}
		return l
	})
}

// orAny is what stands in a table for a part of a block that fits everybody.
func orAny(s string) string {
	if s == "" {
		return "any"
	}
	return s
}
