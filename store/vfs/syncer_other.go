//go:build !linux

package vfs

// syncQueue is not there: fdatasync is called.
type syncQueue struct{}

func newSyncQueue() *syncQueue { return nil }

func (*syncQueue) sync(osFile) (begun bool, err error) { return false, nil }

func (*syncQueue) close() {}
