// Package term is what the commands print and ask: tables, JSON, and passwords typed without echo.
package term

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	xterm "golang.org/x/term"
)

// IsTerminal tells whether stream is a file that is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && xterm.IsTerminal(int(f.Fd()))
}

// Table prints rows under a header, columns aligned by blanks. Cells come from the store and from ourselves; control
// characters in them are printed as \x escapes all the same, since they could steer a terminal.
func Table(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, cells := range append([][]string{header}, rows...) {
		clean := make([]string, len(cells))
		for i, cell := range cells {
			clean[i] = Printable(cell)
		}
		if _, err := fmt.Fprintln(tw, strings.Join(clean, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// Printable returns s with control characters and broken UTF-8 written as escapes.
func Printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError {
			fmt.Fprintf(&b, "\\x%02x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// JSON prints v indented, with a newline at the end. A nil slice should be given as an empty one: scripts iterate.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// ErrMismatch means that the two passwords typed were not the same.
var ErrMismatch = errors.New("the two passwords are not the same")

// NewPassword asks for a password twice, without echo. The end of ctx puts the terminal back as it was, so that an
// interrupt leaves no shell without echo.
func NewPassword(ctx context.Context, in *os.File, prompts io.Writer, name string) (string, error) {
	first, err := secret(ctx, in, prompts, "Password for "+name+": ")
	if err != nil {
		return "", err
	}
	second, err := secret(ctx, in, prompts, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", ErrMismatch
	}
	return first, nil
}

// Password asks for a password once, as NewPassword does.
func Password(ctx context.Context, in *os.File, prompts io.Writer, name string) (string, error) {
	return secret(ctx, in, prompts, "Password for "+name+": ")
}

func secret(ctx context.Context, in *os.File, prompts io.Writer, prompt string) (string, error) {
	fd := int(in.Fd())
	before, err := xterm.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("the terminal can't be used: %w", err)
	}
	fmt.Fprint(prompts, prompt)
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := xterm.ReadPassword(fd)
		answers <- answer{text, err}
	}()
	defer fmt.Fprintln(prompts)
	select {
	case a := <-answers:
		return string(a.text), a.err
	case <-ctx.Done():
		// The read above stays behind; the process ends.
		return "", errors.Join(context.Cause(ctx), xterm.Restore(fd, before))
	}
}

// maxLine bounds what is read for one line of standard input.
const maxLine = 4 << 10

// Line reads all of r, which must be one line, and returns it without its line end.
func Line(r io.Reader) (string, error) {
	text, err := io.ReadAll(bufio.NewReader(io.LimitReader(r, maxLine+1)))
	if err != nil {
		return "", err
	}
	if len(text) > maxLine {
		return "", fmt.Errorf("standard input has more than %d octets", maxLine)
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if strings.ContainsAny(line, "\r\n") {
		return "", errors.New("standard input has more than one line")
	}
	return line, nil
}

// Octets prints n as a number that people read: 512 B, 1.5 KiB, 2.0 GiB.
func Octets(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), 0
	for value >= 1<<10 && unit < len("KMGTPE")-1 {
		value /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}
