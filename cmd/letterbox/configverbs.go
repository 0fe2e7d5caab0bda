package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/cmd/letterbox/internal/certs"
	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/term"
)

func configCommands() []command {
	return []command{{
		name: "config check", usage: "[flags]", text: "say every mistake in the configuration; exit 2 if there is one",
		keys: allKeys, setup: configCheck,
	}, {
		name: "config show", usage: "[flags]", text: "print each value and where it came from; secrets are hidden",
		keys: allKeys, setup: configShow,
	}, {
		name: "config reference", text: "print all keys, in Markdown", setup: configReference,
	}}
}

// checkAnswer is what config check --json prints.
type checkAnswer struct {
	OK       bool     `json:"ok"`
	File     string   `json:"file"` // empty: none was found
	Mistakes []string `json:"mistakes"`
	Warnings []string `json:"warnings"`
}

func configCheck(fs *flag.FlagSet) action {
	asJSON := jsonFlag(fs)
	return func(_ context.Context, c *call) error {
		cfg, err := c.config()
		err = checkFiles(cfg, err)
		answer := checkAnswer{OK: err == nil, File: cfg.File, Mistakes: []string{}, Warnings: orEmpty(cfg.Warnings)}
		if wrong := (*config.Error)(nil); errors.As(err, &wrong) {
			answer.Mistakes = wrong.Mistakes
		}
		if *asJSON {
			return errors.Join(term.JSON(c.stdout, answer), err)
		}
		for _, warning := range answer.Warnings {
			fmt.Fprintln(c.stderr, "letterbox: warning:", warning)
		}
		if err == nil {
			fmt.Fprintf(c.stdout, "the configuration is right (%s)\n", from(cfg))
		}
		return err
	}
}

// checkFiles adds to the mistakes of the configuration what is wrong with the files that it names, as serve says it.
func checkFiles(cfg *config.Config, err error) error {
	if cfg.TLS.Cert != "" && cfg.TLS.Key != "" {
		_, unread := certs.Load(cfg.TLS.Cert, cfg.TLS.Key)
		err = oneMore(err, unread)
	}
	return oneMore(oneMore(err, app.CheckWeb(cfg)), app.CheckBackups(cfg))
}

// oneMore adds a mistake, where it is one, to those that there are.
func oneMore(err, unread error) error {
	if unread == nil {
		return err
	}
	all := &config.Error{}
	if wrong := (*config.Error)(nil); errors.As(err, &wrong) {
		all.Mistakes = append(all.Mistakes, wrong.Mistakes...)
	}
	all.Mistakes = append(all.Mistakes, unread.Error())
	return all
}

func from(cfg *config.Config) string {
	if cfg.File == "" {
		return "no file"
	}
	return "file " + cfg.File
}

// settingAnswer is one item of what config show --json prints.
type settingAnswer struct {
	Key    string   `json:"key"`
	Value  []string `json:"value"` // one item unless the key is a list
	Source string   `json:"source"`
	Reload bool     `json:"reload"`
}

func configShow(fs *flag.FlagSet) action {
	asJSON := jsonFlag(fs)
	return func(_ context.Context, c *call) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		answers, rows := []settingAnswer{}, [][]string{}
		for _, s := range cfg.Settings() {
			answers = append(answers, settingAnswer{s.Key.Name, orEmpty(s.Value), s.Source, s.Key.Reload})
			rows = append(rows, []string{s.Key.Name, strings.Join(s.Value, ", "), s.Source})
		}
		if *asJSON {
			return term.JSON(c.stdout, answers)
		}
		return term.Table(c.stdout, []string{"KEY", "VALUE", "FROM"}, rows)
	}
}

func configReference(*flag.FlagSet) action {
	return func(_ context.Context, c *call) error {
		_, err := fmt.Fprint(c.stdout, config.Reference())
		return err
	}
}
