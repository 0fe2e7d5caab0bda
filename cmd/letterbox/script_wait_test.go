package main

import (
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// appearsCommand waits for the one file that a pattern means.
func appearsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appears PATTERN")
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		files, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		switch {
		case len(files) == 1:
			ts.Setenv("file", files[0])
			return
		case len(files) > 1 || time.Now().After(end):
			ts.Fatalf("%s: %q are there", args[0], files)
		}
	}
}
