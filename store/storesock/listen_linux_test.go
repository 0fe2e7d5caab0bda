package storesock

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// On Linux the mode stands from the first moment: here nothing sets it afterwards.
func TestBindMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	lc := net.ListenConfig{Control: bindMode(0o600)}
	l, err := lc.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
