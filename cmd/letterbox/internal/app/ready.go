package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/letterbox/store"
)

// readyTime bounds one look at the store.
const readyTime = 5 * time.Second

// healthy tells whether the store can write. What went wrong stands in the log: its text may name files.
func (s *server) healthy() error {
	if s.store.Health() != nil {
		return errors.New("the store can't write: see the log")
	}
	return nil
}

// ready tells whether mail can come in and be fetched, in one sentence where it can't. The text may be served to whoever
// reaches the metrics listener: it holds nothing but domains of the configuration.
func (s *server) ready() error {
	if !s.up.Load() {
		return errors.New("starting or stopping")
	}
	if err := s.healthy(); err != nil {
		return err
	}
	switch stats := s.store.Stats(); stats.Accounts {
	case 0:
		return errors.New("there is no account yet: letterbox user add ADDRESS")
	case stats.Disabled:
		return errors.New("all accounts are disabled: letterbox user enable ADDRESS")
	}
	if n := len(s.store.Dangling()); n > 0 {
		return fmt.Errorf("mail for %d aliases or catch-alls is put off, since an account behind them is gone: see letterbox alias list and catchall list", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	for _, domain := range *s.domains.Load() {
		// The receiver's own question, so that ready means what a sender would see; postmaster is taken in every domain
		// that the store knows.
		_, err := s.store.Resolve(ctx, store.Attempt{To: "postmaster@" + domain})
		switch {
		case errors.Is(err, store.ErrNotLocal):
			return fmt.Errorf("the store knows no address in %s, which smtp.domains lists: is this the right data folder?", domain)
		case errors.Is(err, store.ErrUnready), errors.Is(err, store.ErrUnavailable):
			return fmt.Errorf("mail for %s is put off: an alias or catch-all has no account behind it, or the store is not available", domain)
		}
	}
	return nil
}
