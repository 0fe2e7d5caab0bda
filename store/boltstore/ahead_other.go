//go:build !linux

package boltstore

import "os"

// willNeed is a hint that other systems than Linux are not given.
func willNeed(*os.File, int64, int64) {}
