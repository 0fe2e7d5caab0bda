// Command letterbox is a complete mini mail stack: mail comes in by SMTP, waits in a store, and goes out by POP3.
//
// Exit status: 0 when it did what was asked, 1 when that failed, 2 for a mistake of usage or configuration.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"example.org/letterbox/cmd/letterbox/internal/app"
	"example.org/letterbox/cmd/letterbox/internal/config"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is one call of letterbox. It returns the exit status.
func run(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return report(stderr, dispatch(ctx, args, &call{environ: environ, stdin: stdin, stdout: stdout, stderr: stderr}))
}

// usageError is a mistake in the command line itself.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// report prints why a command failed and returns the exit status.
func report(stderr io.Writer, err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if ended := (*app.ExitError)(nil); errors.As(err, &ended) {
		return max(ended.Code, exitFailed) // it has said why
	}
	usage, wrong, input := (*usageError)(nil), (*config.Error)(nil), (*app.InputError)(nil)
	isWrong := errors.As(err, &wrong)
	if isWrong {
		for _, mistake := range wrong.Mistakes {
			fmt.Fprintln(stderr, "letterbox:", mistake)
		}
	} else {
		fmt.Fprintln(stderr, "letterbox:", err)
	}
	if isWrong || errors.As(err, &usage) || errors.As(err, &input) {
		return exitUsage
	}
	return exitFailed
}
