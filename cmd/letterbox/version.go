package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"

	"example.org/letterbox/cmd/letterbox/internal/term"
)

func versionCommands() []command {
	return []command{{name: "version", text: "print the version", setup: printVersion}}
}

// versionAnswer is what version --json prints.
type versionAnswer struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // the commit, empty where the build knew none
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func printVersion(fs *flag.FlagSet) action {
	asJSON := jsonFlag(fs)
	return func(_ context.Context, c *call) error {
		answer := versionAnswer{
			Version: version(), Revision: setting("vcs.revision"), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		}
		if *asJSON {
			return term.JSON(c.stdout, answer)
		}
		_, err := fmt.Fprintf(c.stdout, "letterbox %s (%s, %s)\n", answer.Version, answer.Go, answer.Platform)
		return err
	}
}

// version returns the module's version as the Go tool recorded it: a tag, a pseudo-version, or devel.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

func setting(key string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
