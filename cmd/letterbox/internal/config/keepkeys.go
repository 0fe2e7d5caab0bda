package config

import (
	"errors"
	"math"
	"time"
)

// longest bounds durations of keeping: a century.
const longest = 100 * 365 * day

// keepKeys are the sections retention and quota.
func keepKeys() []Key {
	return []Key{{
		Name: "retention.expire_after", Default: one("0s"), Reload: true,
		Text: "How long mail waits, counted from its arrival here, before it is deleted, at least `1d`; `0s` for ever. POP3 clients are told " +
			"in whole days (EXPIRE). What an open session sees stays, and while the clock can't be trusted nothing expires.",
		place: func(c *Config) value { return expiryValue{&c.Keep.ExpireAfter} },
	}, {
		Name: "retention.undelete_for", Default: one("0s"), Reload: true,
		Text: "How long mail that a client deleted can be had back with `letterbox undelete`; it takes room until then, but none of a quota. " +
			"`0s`: deleted means gone. A disk that fills up ends it early.",
		place: func(c *Config) value { return durationValue{&c.Keep.UndeleteFor, 0, longest} },
	}, {
		Name: "retention.history_for", Default: one("30d"), Reload: true,
		Text: "How long it is kept who sent what to whom, what was refused, and who fetched and deleted it, for `letterbox trace`; `0s` for no " +
			"history, which removes what there is.",
		place: func(c *Config) value { return durationValue{&c.Keep.HistoryFor, 0, longest} },
	}, {
		Name: "retention.history_bytes", Default: one("64MiB"), Reload: true,
		Text: "What the history takes on disk at the most; the oldest goes first. A quarter of it is for what was refused, so that strangers " +
			"can't push out the rest.",
		place: func(c *Config) value { return sizeValue{&c.Keep.HistoryBytes, 1 << 20, 1 << 40} },
	}, {
		Name: "quota.account_bytes", Default: one("0"), Reload: true,
		Text: "What may wait for one account, unless `user quota` gives it a bound of its own; 0 for no bound. A sender that would go beyond " +
			"is told to try again later (452). A message whose size was not declared may go beyond by itself.",
		place: func(c *Config) value { return sizeValue{&c.Keep.AccountBytes, 0, math.MaxInt64} },
	}, {
		Name: "quota.account_messages", Default: one("0"), Reload: true,
		Text:  "The same, counted in messages.",
		place: func(c *Config) value { return numberValue{&c.Keep.AccountMessages, 0, math.MaxInt32} },
	}, {
		Name: "quota.total_bytes", Default: one("0"), Reload: true,
		Text:  "What may wait for all accounts together; 0 for no bound.",
		place: func(c *Config) value { return sizeValue{&c.Keep.TotalBytes, 0, math.MaxInt64} },
	}, {
		Name: "quota.total_messages", Default: one("0"), Reload: true,
		Text:  "The same, counted in messages.",
		place: func(c *Config) value { return numberValue{&c.Keep.TotalMessages, 0, math.MaxInt32} },
	}}
}

// backupKeys are the section backup.
func backupKeys() []Key {
	return []Key{{
		Name: "backup.to", Default: one(""), Reload: true,
		Text: "A folder, outside the data folder and best on another disk, to which the owner of the store writes backups as `letterbox backup` " +
			"does, each named by the store and its time. It has to be there. Empty: none are made. In a file it is relative to the file's own folder.",
		place: func(c *Config) value { return pathValue{&c.Backup.To} },
	}, {
		Name: "backup.every", Default: one("1d"), Reload: true,
		Text: "How often, counted from the youngest that is there. One that fails is tried again after a minute, then at growing distances of " +
			"an hour at most.",
		place: func(c *Config) value { return durationValue{&c.Backup.Every, time.Minute, 366 * day} },
	}, {
		Name: "backup.keep", Default: one("7"), Reload: true,
		Text:  "How many of them stay; older ones are removed once a new one was read back. Other files in the folder are left alone.",
		place: func(c *Config) value { return numberValue{&c.Backup.Keep, 1, 10_000} },
	}}
}

// expiryValue is a duration that is 0 or a day at least: mail that expires within hours is a mistake.
type expiryValue struct{ at *time.Duration }

func (v expiryValue) duration() durationValue { return durationValue{v.at, 0, longest} }

func (v expiryValue) kind() string   { return v.duration().kind() }
func (v expiryValue) list() bool     { return false }
func (v expiryValue) text() []string { return v.duration().text() }
func (v expiryValue) set(items []string, base string) error {
	if err := v.duration().set(items, base); err != nil {
		return err
	}
	if d := *v.at; d > 0 && d < day {
		return errors.New("is less than a day: mail would be gone before its owner had looked; write 1d or more, or 0s for never")
	}
	return nil
}
