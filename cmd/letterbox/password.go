package main

import (
	"context"
	"flag"
	"os"

	"example.org/letterbox/cmd/letterbox/internal/term"
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

// hash returns the hash of the new password, and the password itself if it was generated.
func (p *passwordSource) hash(ctx context.Context, c *call, name string) (hash, generated string, err error) {
	if p.given != "" {
		if err := secret.Check(p.given); err != nil {
			return "", "", usagef("%s", err)
		}
		return p.given, "", nil
	}
	password := ""
	if p.generate {
		generated = secret.Generate()
		password = generated
	} else if password, err = p.read(ctx, c, name); err != nil {
		return "", "", err
	}
	if hash, err = secret.Hash(password); err != nil {
		return "", "", usagef("%s", err)
	}
	return hash, generated, nil
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
