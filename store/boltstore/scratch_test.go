package boltstore

import (
	"os"
	"testing"
)

// scratch is a folder for tests that open many stores and do not ask the disk for durability: in memory where the system
// has such a place, since each of them syncs a few dozen times.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "letterbox-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
