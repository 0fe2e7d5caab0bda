//go:build !linux

package main

import "github.com/rogpeppe/go-internal/testscript"

func terminalCommand(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("terminal is for [linux]")
}
