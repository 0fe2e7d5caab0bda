package boltstore

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"
)

// Where pages lie in a row more and more is asked for at once; where they do not, little; what was asked for is not again.
func TestReadAheadFollowsWhatIsRead(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "pages"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	mapped := make([]byte, 16<<20)
	a := &ahead{file: file, base: uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))}
	for _, step := range []struct{ at, from, window int64 }{
		{1 << 20, 1 << 20, aheadFirst},
		{1<<20 + 4096, 1 << 20, aheadFirst},
		{1<<20 + aheadFirst, 1<<20 + aheadFirst, 2 * aheadFirst},
		{1<<20 + 3*aheadFirst + 8192, 1<<20 + 3*aheadFirst + 8192, 4 * aheadFirst}, // a page of another bucket lies between
		{12 << 20, 12 << 20, aheadFirst},
		{4096, 4096, aheadFirst},
	} {
		a.passed(mapped[step.at:][:16])
		if a.from != step.from || a.to-a.from != step.window {
			t.Errorf("at %d: asked for %d octets at %d, want %d at %d", step.at, a.to-a.from, a.from, step.window, step.from)
		}
	}
	for at := int64(1 << 20); at < 12<<20; at += 4096 {
		a.passed(mapped[at:][:16])
	}
	if a.to-a.from != aheadMost {
		t.Errorf("behind 11 MiB in a row %d octets are asked for, want %d", a.to-a.from, aheadMost)
	}
	(*ahead)(nil).passed(mapped[:16])
}
