package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// createUnfinished makes a file that is written under a name of its own until it is whole. What stands there goes and is not
// written to: another run's half, or a link that the folder's user has put there, who knows the name.
func createUnfinished(name string) (*os.File, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// takenError means that another run writes the same file.
type takenError struct{ name string }

func (e *takenError) Error() string {
	return e.name + " is being written by another run: let that one end"
}

// syncUnfinished makes the content durable. It fails with *takenError where another run has put its own in the file's place.
func syncUnfinished(f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	ours, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Lstat(f.Name()); err != nil || !os.SameFile(ours, there) {
		return &takenError{f.Name()}
	}
	return nil
}

// dropUnfinished removes the file after an error, unless it is another run's by now.
func dropUnfinished(name string, cause error) error {
	if errors.As(cause, new(*takenError)) {
		return cause
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; and %w", cause, err)
	}
	return cause
}
