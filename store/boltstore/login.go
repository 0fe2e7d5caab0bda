package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/secret"
)

// LoginPolicy says what logins may do. The zero value takes no session over and slows nobody down.
type LoginPolicy struct {
	TakeoverAfter time.Duration // a login takes over from a session whose client has not moved for so long; 0: never
	LoginDelay    time.Duration // the least time between two logins of one account (RFC 2449 section 6.5); 0: none
	Throttle      secret.ThrottlePolicy
}

// SetLogins replaces the policy of logins.
func (s *Store) SetLogins(p LoginPolicy) {
	s.policy.Store(&p)
	s.throttle.SetPolicy(p.Throttle)
}

// credential is one password of an account as it was at some time: nothing that was set later is the same one.
type credential struct {
	account uint64 // account.Since
	app     string // name of an app password, empty for the account's own
	since   uint64 // appPassword.Since
}

// has tells whether the account has this password still.
func (a *account) has(c credential) bool {
	if a.Since != c.account {
		return false
	}
	app := a.app(c.app)
	return c.app == "" || app != nil && app.Since == c.since
}

// app returns the app password of that name, nil for none.
func (a *account) app(name string) *appPassword {
	for i := range a.AppPasswords {
		if a.AppPasswords[i].Name == name {
			return &a.AppPasswords[i]
		}
	}
	return nil
}

// principal is who has logged in.
type principal struct {
	drop store.MaildropID
	by   credential
}

// login returns the account that a name stands for, nil for none, and the one form of all spellings of the name: an
// address, or a local part alone that one account has.
func (d *directory) login(text string) (name string, acc *account) {
	if a, err := store.ParseAddress(text); err == nil {
		return a.String(), d.accounts[a.String()]
	}
	name = strings.ToLower(text)
	return name, d.locals[name]
}

// authenticate checks name and secret. An unknown, a disabled and a known account take the same work and time.
func (s *Store) authenticate(ctx context.Context, l store.Login) (principal, error) {
	if l.Exchange != nil {
		return s.exchange(ctx, l)
	}
	dir := s.accounts.directory()
	name, acc := dir.login(l.Name)
	// Any edit may make a wrong secret right.
	attempt := string(binary.BigEndian.AppendUint64(nil, dir.revision)) + name + "\x00" + l.Secret
	ticket, err := s.admit(ctx, name, acc, l, attempt)
	switch {
	case err != nil:
		return principal{}, err
	case ticket.Repeated:
		return principal{}, store.ErrCredential
	case ticket.Wait > 0:
		_, acc = s.accounts.directory().login(l.Name)
	}
	who, err := s.verify(ctx, acc, l.Secret)
	if errors.Is(err, store.ErrCredential) {
		s.throttle.Failed(ticket)
	}
	return who, err
}

// admit asks the throttle, and waits as long as it says. It counts for all accounts with the same local part: whether names
// are slowed down together does not tell which of them exist.
func (s *Store) admit(ctx context.Context, name string, acc *account, l store.Login, attempt string) (secret.Ticket, error) {
	local := name
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		local = name[:at]
	}
	ticket, err := s.throttle.Begin(secret.Attempt{
		Account: local, Peer: l.Peer, Proxied: l.Proxied, Known: s.logins.known(dropOf(acc), l.Peer), Secret: attempt,
	})
	if err != nil {
		return ticket, store.ErrThrottled
	}
	if ticket.Wait > 0 {
		err = s.opt.sleep(ctx, ticket.Wait)
	}
	return ticket, err
}

// dropOf is the account's maildrop, and for nobody one that no account has.
func dropOf(acc *account) store.MaildropID {
	if acc == nil {
		return 0
	}
	return acc.Maildrop
}

// verify finds the password among those of an account; nil is the account that does not exist. Whatever fails costs one hash
// of the expensive kind and one of the cheap. What is right costs less: a secret that was right a moment ago costs none,
// an app password, which nobody can guess, a cheap one.
func (s *Store) verify(ctx context.Context, acc *account, password string) (principal, error) {
	who := principal{drop: dropOf(acc)}
	by, cached := s.verified.Find(uint64(who.drop), password)
	var known account // no hash, no app passwords
	if acc != nil {
		known = *acc
	}
	may := acc != nil && !acc.Disabled
	if may && cached && acc.has(by) {
		who.by = by
		return who, nil
	}
	hashes := make([]string, len(known.AppPasswords))
	for i := range hashes {
		hashes[i] = known.AppPasswords[i].Hash
	}
	if i := secret.MatchApp(hashes, password); may && i >= 0 {
		app := known.AppPasswords[i]
		who.by = credential{acc.Since, app.Name, app.Since}
		return who, nil
	}
	ok, rehash, err := s.verifier.Verify(ctx, known.Hash, password)
	switch {
	case errors.Is(err, secret.ErrBusy):
		return who, store.ErrBusy
	case err != nil:
		return who, err
	case !ok || !may:
		return who, store.ErrCredential
	}
	if rehash && !s.opt.keepHashes {
		s.rehash(ctx, acc.address, known.Hash, password)
	}
	who.by = credential{account: acc.Since}
	s.verified.Remember(uint64(who.drop), password, who.by)
	return who, nil
}

// rehash replaces a hash of another kind, now that the password is at hand. The login does not depend on it.
func (s *Store) rehash(ctx context.Context, address, old, password string) {
	hash, err := s.verifier.Hash(ctx, password)
	if err == nil {
		err = s.accounts.setHash(address, old, hash)
	}
	if err != nil {
		s.opt.Log.Warn().AnErr("reason", err).Msg("a password could not be hashed anew")
	}
}

// exchange is a login by SCRAM-SHA-256 (RFC 5802 section 5): the account's own password alone has keys for it. A local part
// stands for no account here: two names with one salt would tell that there is an account behind them.
func (s *Store) exchange(ctx context.Context, l store.Login) (principal, error) {
	var name string
	var acc *account
	conv, err := secret.NewSCRAM(func(text string) (string, string) {
		name, acc = s.accounts.directory().login(text)
		if !strings.Contains(name, "@") {
			acc = nil
		}
		if acc == nil || acc.Disabled {
			return name, ""
		}
		return name, acc.SCRAM
	}, s.id.Key, l.Binding, strings.HasSuffix(l.Mechanism, "-PLUS"))
	if err != nil {
		return principal{}, err
	}
	message, err := l.Exchange(ctx, nil)
	if err != nil {
		return principal{}, err
	}
	first, wrong := conv.First(message)
	ticket, err := s.admit(ctx, name, acc, l, "")
	if err != nil {
		return principal{}, err
	}
	if wrong == nil {
		var final []byte
		if message, err = l.Exchange(ctx, first); err != nil {
			return principal{}, err
		}
		if final, wrong = conv.Final(message); wrong == nil && actsForItself(conv, name) && acc != nil {
			_, err = l.Exchange(ctx, final)
			return principal{acc.Maildrop, credential{account: acc.Since}}, err
		}
	}
	s.throttle.Failed(ticket)
	return principal{}, store.ErrCredential
}

// actsForItself refuses a client that logs in with one account's password for another.
func actsForItself(conv *secret.SCRAM, name string) bool {
	if conv.Authorized() == "" {
		return true
	}
	a, err := store.ParseAddress(conv.Authorized())
	return err == nil && a.String() == name
}

// sleep waits for d or as long as ctx allows.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
