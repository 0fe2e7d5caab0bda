package app

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// printSummary tells a person at a terminal where everything is and what to do next.
func (s *process) printSummary(ctx context.Context) {
	empty := false
	if s.store != nil {
		d, err := s.store.Directory(ctx)
		empty = err == nil && len(d.Accounts) == 0
	}
	printSummary(s.Out, s.Version, s.Config.Data, s.listeners, empty)
}

// printSummary prints what is open and which data folder it serves; empty means that the store has no account yet.
func printSummary(out io.Writer, version, data string, listeners []listener, empty bool) {
	var order []string
	addresses := map[string][]string{}
	for _, l := range listeners {
		if addresses[l.name] == nil {
			order = append(order, l.name)
		}
		address := l.Addr().String()
		if l.name == metricsName {
			address = "http://" + address + "/"
		}
		addresses[l.name] = append(addresses[l.name], address)
	}
	fmt.Fprintf(out, "\nletterbox %s is ready.\n\n", version)
	for _, name := range order {
		fmt.Fprintf(out, "  %-8s %s\n", strings.ToUpper(name), strings.Join(addresses[name], "  "))
	}
	if absolute, err := filepath.Abs(data); err == nil {
		data = absolute
	}
	fmt.Fprintf(out, "  %-8s %s\n\n", "DATA", data)
	next := "To end it, press Ctrl-C; mail stays in the data folder."
	if empty {
		next = fmt.Sprintf("There is no account yet. In another terminal: letterbox user add you@example.org --data %s", data)
	}
	fmt.Fprintf(out, "%s\n\n", next)
}
