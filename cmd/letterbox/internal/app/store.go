package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/metrics"
	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/secret"
	"example.org/letterbox/store/seglog"
)

func (s *process) openStore(context.Context) error {
	data := s.Config.Data
	if err := makeFolder(data); err != nil {
		return folderError(data, s.Config.Source("data"), err)
	}
	o := storeOptions(s.Config, s.log, true)
	s.times = metrics.NewTimes()
	o.Observer = s.times
	opened, err := boltstore.Open(data, o)
	if err != nil {
		return folderError(data, s.Config.Source("data"), err)
	}
	s.store, s.deliverer, s.pickup = opened, opened, opened
	s.defers(func(context.Context) error { return opened.Close() })
	return nil
}

// makeFolder makes the data folder, which only its owner may read. Of a link that leads to nothing or in a circle os.MkdirAll
// says that it exists; os.Stat says what is wrong with it.
func makeFolder(data string) error {
	err := os.MkdirAll(data, 0o700)
	if errors.Is(err, fs.ErrExist) {
		if _, reason := os.Stat(data); reason != nil {
			return reason
		}
	}
	return err
}

// folderError makes one sentence of what keeps a data folder from being used; other errors are the store's to explain.
func folderError(data, source string, err error) error {
	name := fmt.Sprintf("data folder %s (from %s)", data, source)
	if corrupt := (*seglog.Corrupt)(nil); errors.As(err, &corrupt) {
		return fmt.Errorf("%s: %w; `letterbox verify --repair` says what is lost and goes on without it", name, err)
	}
	// Of a folder that is there, a missing file is damage.
	if _, gone := os.Stat(data); errors.Is(err, fs.ErrNotExist) && errors.Is(gone, fs.ErrNotExist) {
		return &InputError{name + " is not there and can't be made: look for a link to nothing in its path, or a removed working directory", err}
	}
	for _, f := range folderFaults() {
		if errors.Is(err, f.cause) {
			return &InputError{name + " " + f.text, err}
		}
	}
	return fmt.Errorf("%s: %w", name, err)
}

// folderFault is what the operator has to mend on a data folder, and the sentence's end that says so.
type folderFault struct {
	cause error
	text  string
}

func folderFaults() []folderFault {
	return []folderFault{
		{boltstore.ErrLocked, "is in use by another letterbox process: stop that one, or name another folder with --data"},
		{syscall.ENOTDIR, "is no folder"},
		{syscall.ENAMETOOLONG, "has a path that is too long for the system: name a shorter one with --data"},
		{syscall.ELOOP, "has links in its path that lead in a circle"},
		{syscall.ENOSPC, "is on a file system that is full: make space, or name another folder with --data"},
		{syscall.EROFS, "is on a file system that is read-only: name another folder with --data"},
		{fs.ErrPermission, fmt.Sprintf("can't be written by uid %d", os.Geteuid())},
	}
}

// makeAccounts makes the accounts that the configuration names and the store lacks.
func (s *process) makeAccounts(ctx context.Context) error {
	if len(s.Config.Accounts.Create) == 0 {
		return nil
	}
	directory, err := s.store.Directory(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, a := range directory.Accounts {
		there[a.Address] = true
	}
	for _, a := range s.Config.Accounts.Create {
		if there[a.Address] {
			continue
		}
		if err := s.makeAccount(ctx, a); err != nil {
			return err
		}
		there[a.Address] = true
	}
	return nil
}

func (s *process) makeAccount(ctx context.Context, a config.NewAccount) error {
	password := a.Password
	if password == "" {
		password = secret.Generate()
	}
	hash, err := secret.Hash(password)
	if err != nil {
		return &InputError{fmt.Sprintf("account %s can't be made: %s", a.Address, err), err}
	}
	keys, err := scramKeys(s.Config, password)
	if err != nil {
		return &InputError{fmt.Sprintf("account %s can't be made: %s", a.Address, err), err}
	}
	edit := store.Edit{Op: store.AddAccount, Address: a.Address, Hash: hash, SCRAM: keys}
	if _, err := s.store.Apply(ctx, 0, []store.Edit{edit}); err != nil {
		return &InputError{fmt.Sprintf("account %s can't be made: %s", a.Address, err), err}
	}
	if a.Password == "" {
		fmt.Fprintf(s.Out, "account %s made; its password, shown this once: %s\n", a.Address, password)
	}
	return nil
}

func storeOptions(c *config.Config, log zerolog.Logger, create bool) boltstore.Options {
	return boltstore.Options{
		Log: log, Create: create,
		BodyMemory: c.Store.BodyMemory, HashMemory: c.Limits.PasswordHashMemory, Logins: loginPolicy(c),
		Keep: keepPolicy(c), Built: built(),
	}
}
