package main

import (
	"context"
	"flag"
	"os"

	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

// passwordSource says where a new password comes from.
type passwordSource struct {
	stdin, generate bool
	given           string // a hash
}

func passwordFlags(fs *flag.FlagSet) *passwordSource {
	p := &passwordSource{}
	fs.BoolVar(&p.stdin, "password-stdin", false, "read the password from standard input, one line")
	fs.BoolVar(&p.generate, "generate", false, "make a password and print it, this once")
	fs.StringVar(&p.given, "password-hash", "",
		"take this `HASH` ($argon2id$, $2y$ or $6$) from elsewhere; it is made anew at the first login")
	return p
}

// edit returns an edit with what is stored of the new password, and the password itself if it was generated.
func (p *passwordSource) edit(ctx context.Context, c *call, name string) (edit store.Edit, generated string, err error) {
	edit.Address = name
	if p.given != "" {
		if err := secret.Check(p.given); err != nil {
			return edit, "", usagef("%s", err)
		}
		edit.Hash = p.given
		return edit, "", nil
	}
	cfg, err := c.config()
	if err != nil {
		return edit, "", err
	}
	password := ""
	if p.generate {
		generated = secret.Generate()
		password = generated
	} else if password, err = p.read(ctx, c, name); err != nil {
		return edit, "", err
	}
	if edit.Hash, err = secret.Hash(password); err != nil {
		return edit, "", usagef("%s", err)
	}
	if cfg.POP3.SCRAM {
		if edit.SCRAM, err = secret.SCRAMKeys(password); err != nil {
			return edit, "", usagef("%s", err)
		}
	}
	return edit, generated, nil
}

// check refuses flags that contradict each other and a prompt where nobody could answer it.
func (p *passwordSource) check(c *call) error {
	given := 0
	for _, set := range []bool{p.stdin, p.generate, p.given != ""} {
		if set {
			given++
		}
	}
	switch {
	case given > 1:
		return usagef("only one of --password-stdin, --generate and --password-hash can be given")
	case given == 0 && !term.IsTerminal(c.stdin):
		return usagef("standard input is no terminal: give the password by --password-stdin, --generate or --password-hash")
	}
	return nil
}

func (p *passwordSource) read(ctx context.Context, c *call, name string) (string, error) {
	if p.stdin {
		line, err := term.Line(c.stdin)
		if err != nil {
			return "", usagef("%s", err)
		}
		return line, nil
	}
	in, _ := c.stdin.(*os.File) // check saw that it is a terminal
	return term.NewPassword(ctx, in, c.stderr, name)
}
