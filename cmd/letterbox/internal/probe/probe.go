// Package probe speaks to running servers: it asks a letterbox how it is, and holds our clients of SMTP and POP3, which are small,
// bound what a server can make them keep, and change no octet of what they send and get.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
)

// ErrNotRunning means that nobody answers on the health socket.
var ErrNotRunning = errors.New("no letterbox answers")

// maxAnswer bounds what is read of a health answer, in octets.
const maxAnswer = 4 << 10

// Health asks /readyz on the unix socket at path. It returns nil when the process is ready, and the process's own reason
// when it is not. It fails with ErrNotRunning when nobody listens there, and with fs.ErrPermission when we may not ask.
func Health(ctx context.Context, path string) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	// The host stands for the socket: the transport dials nothing else.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://letterbox/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return dialError(path, err)
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	return nil
}

// deniedError is a socket that this user may not open: whether somebody listens there is not known.
type deniedError struct{ path string }

func (e *deniedError) Error() string {
	return fmt.Sprintf("%s can't be opened by uid %d: run this as the owner of the data folder or as root", e.path, os.Geteuid())
}

func (e *deniedError) Unwrap() error { return fs.ErrPermission }

// dialError makes one sentence of what keeps the socket at path from being reached.
func dialError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &deniedError{path}
	}
	return fmt.Errorf("%w on %s", ErrNotRunning, path)
}
