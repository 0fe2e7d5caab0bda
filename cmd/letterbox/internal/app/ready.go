package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/storesock"
)

// readyTime bounds one look at the store.
const readyTime = 5 * time.Second

// healthy tells whether the store can write, where it is ours; a daemon without it is not ready, and works. What went wrong
// stands in the log: its text may name files.
func (s *process) healthy() error {
	if s.store != nil && s.store.Health() != nil {
		return errors.New("the store can't write: see the log")
	}
	return nil
}

// ready tells whether mail can come in and be fetched, as far as this process has to do with it, in one sentence where it
// can't. The text may be served to whoever reaches the metrics listener: it holds nothing but domains of the configuration.
func (s *process) ready() error {
	if !s.up.Load() {
		return errors.New("starting or stopping")
	}
	if err := s.healthy(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	if s.ping != nil {
		if err := unreachable(s.ping(ctx)); err != nil {
			return err
		}
	}
	if s.store != nil {
		if err := s.directoryReady(); err != nil {
			return err
		}
	}
	if s.smtp != nil {
		return s.domainsReady(ctx)
	}
	return nil
}

// unreachable says what an operator can do about a store that can't be asked.
func unreachable(err error) error {
	version, other := (*storesock.ProtocolError)(nil), (*storesock.StoreError)(nil)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &version), errors.As(err, &other):
		return err // numbers of protocols or of stores
	}
	return errors.New("the store's process does not answer: is letterbox store running, and may this user reach its socket?")
}

// directoryReady tells whether the store knows somebody to take mail for.
func (s *process) directoryReady() error {
	switch stats := s.store.Stats(); stats.Accounts {
	case 0:
		return errors.New("there is no account yet: letterbox user add ADDRESS")
	case stats.Disabled:
		return errors.New("all accounts are disabled: letterbox user enable ADDRESS")
	}
	if n := len(s.store.Dangling()); n > 0 {
		return fmt.Errorf("mail for %d aliases or catch-alls is put off, since an account behind them is gone: see letterbox alias list and catchall list", n)
	}
	return nil
}

// domainsReady asks the receiver's own question about each domain of the configuration, so that ready means what a sender
// would see; postmaster is taken in every domain that the store knows.
func (s *process) domainsReady(ctx context.Context) error {
	for _, domain := range *s.domains.Load() {
		_, err := s.deliverer.Resolve(ctx, store.Attempt{To: "postmaster@" + domain})
		switch {
		case errors.Is(err, store.ErrNotLocal):
			return fmt.Errorf("the store knows no address in %s, which smtp.domains lists: is this the right data folder?", domain)
		case errors.Is(err, store.ErrUnready), errors.Is(err, store.ErrUnavailable):
			return fmt.Errorf("mail for %s is put off: an alias or catch-all has no account behind it, or the store is not available", domain)
		}
	}
	return nil
}
