package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/storesock"
)

// ownerWait is how long a command waits for an owner of the store that holds the folder and does not listen, or no longer:
// it is starting or stopping.
const ownerWait = 5 * time.Second

// OpenAdmin reaches the facts of the store in the data folder: over the admin socket of the process that owns it, or by
// opening the files, under the folder's lock, when there is none. The process takes on the owner of the folder first, and
// never makes a store. The caller calls done when it is through.
func OpenAdmin(ctx context.Context, c *config.Config) (admin store.Admin, done func() error, err error) {
	if err := BecomeOwner(c.Data); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ownerWait)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		client, dialErr := dialOwner(ctx, c)
		if dialErr == nil {
			return client, client.Close, nil
		}
		if !ownerAway(dialErr) {
			return nil, nil, dialErr
		}
		options := storeOptions(c, zerolog.Nop(), false)
		options.Brief = true
		s, err := boltstore.Open(c.Data, options)
		if err == nil {
			return s, s.Close, nil
		}
		if !errors.Is(err, boltstore.ErrLocked) {
			return nil, nil, noStore(c, err)
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("another process holds %s and its admin socket can't be used: %w", c.Data, dialErr)
		}
	}
}

// dialOwner reaches the owner of the data folder, and never that of another one which has the same folder of sockets.
func dialOwner(ctx context.Context, c *config.Config) (client *storesock.AdminClient, err error) {
	for _, run := range Folders(c) {
		if claimedByOther(run, c.Data) {
			err = fmt.Errorf("%w for it on %s: the sockets there are another store's", storesock.ErrNoOwner, run)
			continue
		}
		if client, err = storesock.DialAdmin(ctx, adminSocket(run)); !errors.Is(err, storesock.ErrNoOwner) {
			break
		}
	}
	return client, err
}

// ownerAway tells whether a failed call of the owner means that there may be none, or none for much longer. A refusal and
// an owner of another version are answers.
func ownerAway(err error) bool {
	if protocol := (*storesock.ProtocolError)(nil); errors.As(err, &protocol) {
		return false
	}
	for _, away := range []error{storesock.ErrNoOwner, storesock.ErrPathTooLong, store.ErrUnavailable} {
		if errors.Is(err, away) {
			return true
		}
	}
	return false
}

// Repair rebuilds the index of the store in the data folder, and leaves out of its log what can't be read. It fails when a
// process holds the folder.
func Repair(ctx context.Context, c *config.Config, lost func(store.Finding)) error {
	if err := BecomeOwner(c.Data); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := boltstore.Repair(ctx, c.Data, lost); err != nil {
		return noStore(c, err)
	}
	return nil
}

// Restore makes a store of a backup in the data folder, which must be empty or not there. name is the backup's, for people.
func Restore(ctx context.Context, c *config.Config, name string, backup io.Reader) (store.BackupReport, error) {
	if err := BecomeOwner(c.Data); err != nil {
		return store.BackupReport{}, err
	}
	report, err := boltstore.Restore(ctx, c.Data, backup, storeOptions(c, zerolog.Nop(), true))
	switch {
	case errors.Is(err, boltstore.ErrNotEmpty):
		err = &InputError{fmt.Sprintf("%v: name another folder with --data, or move that one away", err), err}
	case errors.Is(err, boltstore.ErrBackup):
		err = fmt.Errorf("%s is %w; nothing was restored", name, err)
	case err != nil:
		err = folderError(c.Data, c.Source("data"), err)
	}
	return report, err
}

// noStore says where no store was found, because a path that is mistyped or relative to the wrong folder is the usual cause.
func noStore(c *config.Config, err error) error {
	if errors.Is(err, boltstore.ErrNoStore) {
		hint := "name the folder of one with --data"
		if c.Source("data") == "--data" {
			hint = "is that its folder? letterbox serve makes a new one there"
		}
		return fmt.Errorf("no store at %s (from %s): %s", c.Data, c.Source("data"), hint)
	}
	return folderError(c.Data, c.Source("data"), err)
}
