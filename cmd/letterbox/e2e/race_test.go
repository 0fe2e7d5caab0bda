//go:build race

package e2e

// buildFlags make the binary under test as the tests are: with the race detector.
func buildFlags() []string { return []string{"-race"} }
