package app

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// printSummary tells a person at a terminal where everything is and what to do next.
func (s *server) printSummary(ctx context.Context) {
	var order []string
	addresses := map[string][]string{}
	for _, l := range s.listeners {
		if addresses[l.name] == nil {
			order = append(order, l.name)
		}
		address := l.Addr().String()
		if l.name == metricsName {
			address = "http://" + address + "/"
		}
		addresses[l.name] = append(addresses[l.name], address)
	}
	fmt.Fprintf(s.Out, "\nletterbox %s is ready.\n\n", s.Version)
	for _, name := range order {
		fmt.Fprintf(s.Out, "  %-8s %s\n", strings.ToUpper(name), strings.Join(addresses[name], "  "))
	}
	data := s.Config.Data
	if absolute, err := filepath.Abs(data); err == nil {
		data = absolute
	}
	fmt.Fprintf(s.Out, "  %-8s %s\n\n", "DATA", data)
	next := "To end it, press Ctrl-C; mail stays in the data folder."
	if d, err := s.store.Directory(ctx); err == nil && len(d.Accounts) == 0 {
		next = fmt.Sprintf("There is no account yet. In another terminal: letterbox user add you@example.org --data %s", data)
	}
	fmt.Fprintf(s.Out, "%s\n\n", next)
}
