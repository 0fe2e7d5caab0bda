package boltstore

import (
	"context"
	"time"
)

const (
	// workFor is how long work in the background goes on before it looks whether mail comes in.
	workFor = 2 * time.Millisecond
	// restTenths is the rest that follows, in tenths of the work.
	restTenths = 12
)

// gentle is work that reads much of the store and for which nobody waits: while records are appended it rests longer than it
// works, so that deliveries keep half of their rate, of the processors and of the disk. In a quiet store it never rests.
type gentle struct {
	s       *Store
	began   time.Time // to work
	records uint64    // of the log, then
}

// rest is called between two steps of the work.
func (g *gentle) rest(ctx context.Context) error {
	now := time.Now()
	worked := now.Sub(g.began)
	if worked < workFor {
		return nil
	}
	records := g.s.log.Counts().Records
	var err error
	if records != g.records && !g.began.IsZero() {
		err = sleep(ctx, restTenths*min(worked, 10*workFor)/10)
		now = time.Now()
	}
	g.began, g.records = now, records
	return err
}
