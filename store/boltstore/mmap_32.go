//go:build 386 || arm || mips || mipsle

package boltstore

// initialMmap is the address space that bbolt maps from the start. As long as index.db fits, no writer has to wait for
// readers to map it anew.
func initialMmap() int { return 256 << 20 }
