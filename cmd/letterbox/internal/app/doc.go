// Package app puts the parts together: it opens them in order, runs them, reloads them and closes them in reverse order,
// each step bounded in time. It holds the only knowledge of which implementation stands behind an interface.
package app

// InputError is a mistake of the operator's that no retry mends: a port in use, an unreadable certificate, a data folder
// that can't be written. Text is one sentence.
type InputError struct {
	Text  string
	cause error
}

// Error returns the sentence.
func (e *InputError) Error() string { return e.Text }

// Unwrap returns what the system said, nil where the sentence says all.
func (e *InputError) Unwrap() error { return e.cause }
