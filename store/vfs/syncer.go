package vfs

// Syncer does what File.Sync does, for one goroutine that calls it again and again, and does not keep others from running
// meanwhile. A thread that waits in fdatasync holds one of Go's processors until the runtime takes it away, which may be long
// after: on two cores half of the server stands still.
//
// It begins at the first Sync and needs a Close.
type Syncer struct {
	queue *syncQueue // nil before the first Sync, and where the system has none
	plain bool       // the system has none, or does not let us have it
}

// Sync makes f durable, as File.Sync promises. Files of other implementations than OS are asked to do it themselves.
func (s *Syncer) Sync(f File) error {
	file, ok := f.(osFile)
	if !ok || s.plain {
		return f.Sync()
	}
	if s.queue == nil {
		s.queue = newSyncQueue()
	}
	begun, err := s.queue.sync(file)
	if !begun { // nothing was asked of the disk yet
		s.plain = true
		return f.Sync()
	}
	return err
}

// Close gives back what the Syncer holds. It may be used again.
func (s *Syncer) Close() {
	s.queue.close()
	s.queue = nil
}
