//go:build !linux

package storesock

import "net"

// unread is not told on other systems than Linux.
func unread(net.Conn) int { return 0 }
