package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzUnits shows that whatever is printed is read back as the same.
func FuzzUnits(f *testing.F) {
	for _, s := range []string{"50MiB", "7d", "1d12h30m", "1kB", "10", "1.5h", "100ms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseSize(s); err == nil {
			if again, err := ParseSize(FormatSize(n)); err != nil || again != n {
				t.Errorf("size %q: %d became %d, %v", s, n, again, err)
			}
		}
		if d, err := ParseDuration(s); err == nil {
			if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d {
				t.Errorf("duration %q: %v became %v, %v", s, d, again, err)
			}
		}
	})
}

// FuzzFile shows that no file makes Load panic, and that a refusal has at least one sentence.
func FuzzFile(f *testing.F) {
	f.Add("hostname = \"a.example\"\n[smtp]\nlisten = [\"localhost:1\", \"localhost:2 tls\"]\n")
	f.Add("[[smtp]]\nlisten = 1\n")
	f.Add("smtp = { listen = 1 }\n")
	f.Add("a.b.c.d = 1\n[pop3.x]\n\"\" = {}\n")
	path := filepath.Join(f.TempDir(), "letterbox.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(&Flags{file: path}, nil)
		if wrong := (*Error)(nil); err != nil && (!errors.As(err, &wrong) || len(wrong.Mistakes) == 0) {
			t.Errorf("%v", err)
		}
		if err == nil && len(c.Settings()) != len(Keys()) {
			t.Errorf("%d settings of %d", len(c.Settings()), len(Keys()))
		}
	})
}
