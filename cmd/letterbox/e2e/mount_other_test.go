//go:build !linux

package e2e

import "testing"

func tmpfs(t *testing.T, _ string) string {
	t.Helper()
	unable(t, "no tmpfs on this system")
	return ""
}

func readOnly(t *testing.T, _ string) {
	t.Helper()
	unable(t, "no bind mounts on this system")
}
