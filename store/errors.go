package store

import "errors"

// Errors that an implementation returns, wrapped or bare: test with errors.Is. Their texts are for the log; what a peer is
// told is decided by the daemon.
var (
	ErrNoMaildrop = errors.New("no such maildrop")
	ErrNotLocal   = errors.New("domain is not local")
	ErrDisabled   = errors.New("account is disabled")
	ErrBlocked    = errors.New("blocked")
	ErrOverQuota  = errors.New("over quota")
	ErrFull       = errors.New("no room for this message now")

	// ErrUnready is temporary: the store can't say yet who gets mail, because it holds no account at all or an alias
	// points to an account that is gone.
	ErrUnready = errors.New("store is not set up")
	// ErrUnavailable is temporary: the store can't write, is stopping, or is away.
	ErrUnavailable = errors.New("store is not available")
	// ErrBusy is temporary: more logins wait to be verified than may.
	ErrBusy = errors.New("too many logins at once")

	ErrCredential = errors.New("wrong name or password")
	ErrThrottled  = errors.New("too many failed logins")
	ErrInUse      = errors.New("maildrop is in use")
	// ErrLoginDelay is temporary: the account's last login was too short a time ago.
	ErrLoginDelay = errors.New("logged in too short a time ago")
	// ErrLost ends a Maildrop that is no longer ours; nothing that it marked is deleted.
	ErrLost = errors.New("maildrop was taken away")
	// ErrCorrupt is permanent: what the disk holds is not what was written.
	ErrCorrupt = errors.New("message is damaged on disk")
)

// Temporary tells whether the same request may succeed later. An error that the store does not name is temporary.
func Temporary(err error) bool {
	for _, permanent := range []error{ErrNoMaildrop, ErrNotLocal, ErrDisabled, ErrBlocked, ErrCredential, ErrCorrupt} {
		if errors.Is(err, permanent) {
			return false
		}
	}
	return err != nil
}
