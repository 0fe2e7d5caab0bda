package app

import (
	"runtime/debug"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/store/boltstore"
)

// keepPolicy is how long the owner of the store keeps mail, and how much.
func keepPolicy(c *config.Config) boltstore.KeepPolicy {
	return boltstore.KeepPolicy{
		ExpireAfter: c.Keep.ExpireAfter, UndeleteFor: c.Keep.UndeleteFor, HistoryFor: c.Keep.HistoryFor, HistoryBytes: c.Keep.HistoryBytes,
		AccountOctets: c.Keep.AccountBytes, AccountMessages: int64(c.Keep.AccountMessages),
		TotalOctets: c.Keep.TotalBytes, TotalMessages: int64(c.Keep.TotalMessages),
	}
}

// built is when this program's source was committed, as the build says; zero where it does not.
func built() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, _ := time.Parse(time.RFC3339, s.Value) //nolint:errcheck // the zero time then
			return t
		}
	}
	return time.Time{}
}
