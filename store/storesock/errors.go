package storesock

import (
	"errors"

	"example.org/letterbox/store"
)

// failure is an error on its way.
type failure struct {
	Code string           `json:"code"`
	Text string           `json:"text,omitempty"`
	Edit *store.EditError `json:"edit,omitempty"`
}

// codeEdit marks a failure that is a *store.EditError, codeOther one that has no name in the package store.
const (
	codeEdit        = "edit"
	codeOther       = "other"
	codeUnsupported = "unsupported"
)

// named pairs an error of the package store with its code. Codes never change their meaning.
type named struct {
	code string
	err  error
}

func names() []named {
	return []named{
		{"no-maildrop", store.ErrNoMaildrop},
		{"not-local", store.ErrNotLocal},
		{"disabled", store.ErrDisabled},
		{"blocked", store.ErrBlocked},
		{"over-quota", store.ErrOverQuota},
		{"full", store.ErrFull},
		{"unready", store.ErrUnready},
		{"unavailable", store.ErrUnavailable},
		{"busy", store.ErrBusy},
		{"credential", store.ErrCredential},
		{"throttled", store.ErrThrottled},
		{"in-use", store.ErrInUse},
		{"login-delay", store.ErrLoginDelay},
		{"lost", store.ErrLost},
		{"corrupt", store.ErrCorrupt},
		{"no-history", store.ErrNoHistory},
	}
}

// encodeError returns err with its text, which may be internal: the admin socket's peer is the operator. The other services
// send the code alone.
func encodeError(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Code: codeOf(err), Text: err.Error()}
	if errors.As(err, &f.Edit) {
		f.Code = codeEdit
	}
	return f
}

// codeOf is all that the deliver and pickup sockets tell of an error.
func codeOf(err error) string {
	for _, n := range names() {
		if errors.Is(err, n.err) {
			return n.code
		}
	}
	return codeOther
}

// errorOf is the way back from codeOf.
func errorOf(code string) error { return decodeError(&failure{Code: code}) }

// remoteError is an error of the other side.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error { return e.kind }

// decodeError is the way back. A code that is unknown here is temporary.
func decodeError(f *failure) error {
	if f == nil {
		return nil
	}
	if f.Code == codeEdit && f.Edit != nil {
		return f.Edit
	}
	for _, n := range names() {
		switch {
		case n.code != f.Code:
		case f.Text == "" || f.Text == n.err.Error():
			return n.err
		default:
			return &remoteError{text: f.Text, kind: n.err}
		}
	}
	if f.Text == "" {
		f.Text = "the store's process failed for a reason that this one has no word for"
	}
	return &remoteError{text: f.Text, kind: store.ErrUnavailable}
}
