//go:build !(386 || arm || mips || mipsle)

package boltstore

// initialMmap is the address space that bbolt maps from the start. As long as index.db fits, no writer has to wait for
// readers to map it anew. It is address space, not memory: 16 GiB hold some 200 million messages.
func initialMmap() int { return 16 << 30 }
