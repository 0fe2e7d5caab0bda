package config

import (
	"fmt"
	"strings"
)

// Error holds every mistake that was found in a configuration, each one sentence that names its place.
type Error struct {
	Mistakes []string
}

// Error returns the mistakes, one a line.
func (e *Error) Error() string { return strings.Join(e.Mistakes, "\n") }

// mistakes collects sentences while a configuration is read.
type mistakes []string

func (m *mistakes) add(format string, args ...any) { *m = append(*m, fmt.Sprintf(format, args...)) }

func (m mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	return &Error{Mistakes: m}
}

// nearest returns the one of names that is written most like s, or "" when none is near enough to be meant.
func nearest(s string, names []string) string {
	best, found := max(2, len(s)/3)+1, ""
	for _, name := range names {
		if d := distance(s, name); d < best {
			best, found = d, name
		}
	}
	return found
}

// distance counts the single-character edits between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// didYouMean returns the sentence's end that proposes name, and nothing for no name.
func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return "; did you mean " + name + "?"
}
