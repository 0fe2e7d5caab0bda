package main

import (
	"context"
	"flag"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/listen"
	"example.org/letterbox/metrics/board"
)

func monitorCommands() []command {
	return []command{{
		name: "monitor dashboard", text: "print a dashboard for Grafana", setup: monitorDashboard,
	}, {
		name: "monitor rules", text: "print alerts and recording rules for Prometheus", setup: monitorRules,
	}, {
		name: "monitor scrape-config", text: "print a scrape configuration for Prometheus", keys: scrapeKeys, setup: monitorScrape,
	}}
}

// scrapeKeys are the keys that say where the metrics are.
func scrapeKeys(k config.Key) bool {
	return k.Name == "metrics.listen" || k.Name == "metrics.smtpd" || k.Name == "metrics.pop3d"
}

func monitorDashboard(*flag.FlagSet) action {
	return func(_ context.Context, c *call) error {
		_, err := c.stdout.Write(board.Dashboard())
		return err
	}
}

func monitorRules(fs *flag.FlagSet) action {
	t := board.Defaults()
	fs.StringVar(&t.Job, "job", t.Job, "the `NAME` of the scrape job")
	for name, at := range map[string]*time.Duration{
		"nothing-accepted": &t.NothingAccepted, "unfetched": &t.Unfetched, "backup": &t.Backup, "certificate": &t.Certificate,
	} {
		fs.DurationVar(at, name, *at, map[string]string{
			"nothing-accepted": "alert when no mail came for this `TIME`", "unfetched": "alert when a message waits unseen for this `TIME`",
			"backup": "alert when the last backup is older than this `TIME`", "certificate": "alert this `TIME` before a certificate expires",
		}[name])
	}
	fs.Int64Var(&t.FreeBytes, "free", t.FreeBytes, "alert when fewer `OCTETS` are free on the store's file system")
	return func(_ context.Context, c *call) error {
		for _, d := range []time.Duration{t.NothingAccepted, t.Unfetched, t.Backup, t.Certificate} {
			if d < time.Minute {
				return usagef("%s is too short for an alert: give a minute or more, as 48h", d)
			}
		}
		_, err := c.stdout.Write(t.Write())
		return err
	}
}

func monitorScrape(fs *flag.FlagSet) action {
	job := fs.String("job", board.Job, "the `NAME` of the scrape job")
	split := fs.Bool("split", false, "for three processes instead of one")
	return func(_ context.Context, c *call) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		all := cfg.Metrics.Listen
		if *split {
			all = append(append(all[:len(all):len(all)], cfg.Metrics.SMTPD...), cfg.Metrics.POP3D...)
		}
		targets := targetsOf(all)
		if len(targets) == 0 {
			return usagef("there is nothing to scrape: no HOST:PORT stands in metrics.listen (from %s)", cfg.Source("metrics.listen"))
		}
		_, err = c.stdout.Write(board.ScrapeConfig(*job, targets))
		return err
	}
}

// targetsOf leaves out what Prometheus can't reach: sockets without a port.
func targetsOf(all []listen.Address) (targets []string) {
	for _, a := range all {
		if a.Network == "tcp" {
			targets = append(targets, a.String())
		}
	}
	return targets
}
